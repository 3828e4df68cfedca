"""The tables as data: rows that the branch knows, claims about rows that there are, latents that nothing else has."""

from dnerf_jax.experiments import rows
from dnerf_jax.models.semantic import SemanticConfig
from dnerf_jax.training import branch
from dnerf_jax.worlds import labelled, streams


def test_rows_are_variations_that_the_branch_knows():
    fields, others = set(SemanticConfig.__dataclass_fields__), set(branch.Settings.__dataclass_fields__)
    for table in rows.TABLES.values():
        assert len({row.name for row in table}) == len(table)
        assert all(set(row.changes) <= fields and set(row.training) <= others for row in table)
        assert all(row.views[0] <= rows.LATENTS_PER_SEED and row.views[1] in (1, 3) for row in table)
    assert set(rows.CLAIMS) == set(rows.SETS) == set(rows.TABLES)
    for table, claims in rows.CLAIMS.items():
        assert {name for pair in claims.values() for name in pair} <= {row.name for row in rows.TABLES[table]}
    # A row of the same name is the same row, because tables share what was trained.
    both = {row.name: row for row in rows.TABLES["4"]}
    for row in rows.TABLES["5"]:
        if row.name in both:
            assert (row.changes, row.views) == (both[row.name].changes, both[row.name].views)


def test_what_rows_are_scored_on_has_latents_of_its_own():
    seeds = [pack.seed for pack in (*labelled.PACKS["heads"], *labelled.PACKS["bodies"], rows.VALIDATION, rows.VIDEOS)]
    assert len({*seeds, streams.SEEDS["held_out"]}) == 1 + len(seeds)
