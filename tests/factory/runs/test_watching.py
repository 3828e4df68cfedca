"""Progress of a dataset: what is done, what all workers say of what they make, whoever they are."""

from making import Maker

from dnerf_jax.factory.plan import Plan
from dnerf_jax.factory.runs import running, watching
from dnerf_jax.factory.runs.claims import Claims
from dnerf_jax.factory.runs.watching import Watch

PLAN = Plan(num_identities=10, views_per_identity=2, splits=(("train", 4), ("test", 1)), shard_size=2)


def test_views_of_all_workers_are_counted(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(watching, "_EVERY", 0.0)
    monkeypatch.setattr(watching, "_SHARE", 0.0)
    worker = Maker(PLAN, tmp_path)
    made = running.work_through(worker, running.missing(PLAN, tmp_path))
    next(made)
    watch = Watch(PLAN, tmp_path, running.missing(PLAN, tmp_path))
    watch.begin("2 workers")
    watch.look()
    claims = Claims(tmp_path)
    with claims.take("train-000003") as claim, claims.take("command-0a1b2c3d") as command:
        command.report(100, 0)  # who commands makes nothing
        claim.report(2, 3)
        watch.look()
        next(made)
        watch.look()
    list(made)
    watch.look()
    begun, *lines = capsys.readouterr().out.splitlines()
    assert begun == "making 20 views of 10 identities, 4 are there: 4 shards, 2 workers; the first take longer"
    counts = [line.split("  ")[0] for line in lines]
    assert counts == ["view 4/20", "view 6/20", "view 10/20", "view 20/20"]
    assert "drops 3" in lines[1] and "drops 4" in lines[2] and lines[0].startswith("view 4/20  written 0 bytes")
    # A tar of views and one of clouds for each of the four shards.
    assert "written 81.9 kB" in lines[3] and "drops 4" in lines[3]


def test_looks_are_seldom_where_they_take_long(tmp_path, monkeypatch):
    now, looks = [100.0], []
    monkeypatch.setattr(watching.time, "monotonic", lambda: now[0])
    watch = Watch(PLAN, tmp_path, running.missing(PLAN, tmp_path))

    def slow():
        looks.append(now[0])
        now[0] += 2.0

    monkeypatch.setattr(watch, "_count_done", slow)
    for _ in range(100):
        now[0] += 1.0
        watch.look()
    assert looks == [101.0, 143.0, 185.0]
