"""Pretraining on a very small heads world: finite, reproducible, resumable, and what it writes is a model."""

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from interruption import kill

from dnerf_jax import cli
from dnerf_jax.io import checkpoints
from dnerf_jax.models import generator
from dnerf_jax.networks import stylegan2
from dnerf_jax.ops import cameras, triplane
from dnerf_jax.training import batches, fitting, logs, runs, supervision
from dnerf_jax.worlds import heads
from dnerf_jax.worlds.heads import shards


@pytest.fixture(scope="module")
def run(shrunk):
    """The settings of configs/heads_backbone_cpu.py shrunk: five identities, three, two and two steps of the stages."""
    return cli.as_dataclass(shrunk("heads_backbone_cpu.py"), fitting.Settings)


@pytest.fixture(scope="module")
def straight(shrunk, tmp_path_factory):
    """The folder of a run that nothing interrupted."""
    workdir = tmp_path_factory.mktemp("straight")
    fitting.main(shrunk("heads_backbone_cpu.py"), str(workdir))
    return workdir


@pytest.fixture(scope="module")
def shards(run, straight):
    """The renders of that run."""
    data = run.data
    return shards.render_shards(straight / "data", run.seed, data.identities, data.views, data.resolution, 1)


def final_state(run, workdir):
    template = jax.eval_shape(lambda: fitting.create_state(run, fitting.initial_variables(run)["params"]))
    with runs.Checkpoints(workdir / "checkpoints", every=1) as checkpoints:
        return checkpoints.restore_latest(template)


def test_losses_and_scores_are_finite_and_the_renders_are_shown(straight):
    records = logs.read_metrics(straight / "metrics.jsonl")
    steps = {record["step"] for record in records}
    assert steps == {2, 4, 6, 7}
    # What is not finite is written as None; there may be no opaque pixel yet, whose depth or colour could be compared.
    nothing = ("depth_error_median", "consistency")
    assert all(value is not None for r in records for name, value in r.items() if name not in nothing)
    by_step = [set().union(*(record for record in records if record["step"] == step)) for step in (2, 4, 6, 7)]
    assert {"color", "opacity", "depth", "loss"} <= by_step[0]
    assert {"color", "opacity", "depth", "loss"} <= by_step[1]
    assert {"image", "gradient"} <= by_step[2]
    scores = {"psnr", "psnr_foreground", "ssim", "psnr_raw", "opacity_iou", "depth_error_median", "consistency"}
    assert scores <= by_step[3]
    assert (straight / "sheets" / "000007.png").stat().st_size > 0


def test_the_model_loads_and_knows_its_average_latent(run, straight):
    model = checkpoints.load(straight / "model")
    assert model.config == run.generator
    assert model.label_map == heads.LABELS
    assert "CC0" in dict(model.info)["license"] and "7 steps" in dict(model.info)["origin"]
    z = jax.random.normal(jax.random.key(5), (4000, run.generator.z_dim))
    w = jax.jit(generator.map_latents, static_argnums=0)(model.config, model.variables, z)[:, 0]
    w_avg = model.variables["buffers"]["mapping"]["w_avg"]
    assert np.abs(w_avg).max() > 0
    # Two means of so many draws differ by a few of their standard errors.
    error = jnp.std(w, axis=0) * (1 / 4000 + 1 / 10000) ** 0.5
    assert np.all(np.abs(w_avg - w.mean(axis=0)) < 5 * error + 1e-3 * np.abs(w_avg))


def test_killed_in_every_stage_and_resumed_equals_straight(run, shrunk, straight, tmp_path):
    shutil.copytree(straight / "data", tmp_path / "data")
    work = lambda: fitting.main(shrunk("heads_backbone_cpu.py"), str(tmp_path))  # noqa: E731
    kill(work, fitting, "ray_step", 2)
    assert final_state(run, tmp_path)[0] == 2
    kill(work, fitting, "ray_step", 2)
    assert final_state(run, tmp_path)[0] == 4
    kill(work, fitting, "superresolution_step", 1)
    assert final_state(run, tmp_path)[0] == 6
    work()
    (step, resumed), (_, expected) = final_state(run, tmp_path), final_state(run, straight)
    assert step == int(resumed.step) == 7
    jax.tree.map(np.testing.assert_array_equal, resumed, expected)
    assert (tmp_path / "metrics.jsonl").read_text() == (straight / "metrics.jsonl").read_text()


def test_each_stage_trains_its_own_part(run, straight):
    _, state = final_state(run, straight)
    start = fitting.initial_variables(run)["params"]
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), state.ema, start)
    assert moved["decoder"]["fc0"]["weight"] > 0
    assert moved["mapping"]["fc0"]["weight"] > 0
    assert moved["synthesis"]["b16"]["conv1"]["weight"] > 0
    assert moved["superresolution"]["block1"]["conv1"]["weight"] > 0


def test_planes_are_refined_and_a_block_that_joins_changes_nothing_yet(run):
    run = dataclasses.replace(run, refine_at=(2, 5), steps=7)
    assert [run.plane_resolution(step) for step in range(1, 8)] == [4, 4, 8, 8, 8, 16, 16]
    variables = fitting.initial_variables(run)
    ws = jax.random.normal(jax.random.key(0), (1, run.generator.num_ws, run.generator.w_dim))
    planes = {}
    for resolution in (4, 8, 16):
        config = dataclasses.replace(run.generator, plane_resolution=resolution)
        planes[resolution] = generator.synthesize_planes(config, variables, ws[:, : config.num_ws]).last
    np.testing.assert_allclose(planes[16], stylegan2.upsample(stylegan2.upsample(planes[4])), atol=1e-6)
    assert np.abs(planes[4]).max() > 0.01


def test_coarse_steps_leave_the_fine_blocks_as_they_are(run, shards):
    variables = fitting.initial_variables(run)
    before = jax.tree.map(np.asarray, variables["params"]["synthesis"])
    state = fitting.create_state(run, variables["params"])
    batch = fitting.ray_batch(run, shards, 1)
    for _ in range(2):
        state, _ = fitting.ray_step(run, 8, False, variables["buffers"], state, batch)
    after = state.params["synthesis"]
    jax.tree.map(np.testing.assert_array_equal, after["b16"], before["b16"])
    assert np.abs(after["b8"]["conv1"]["weight"] - before["b8"]["conv1"]["weight"]).max() > 0
    state, _ = fitting.ray_step(run, 16, False, variables["buffers"], state, fitting.ray_batch(run, shards, 2))
    assert np.abs(state.params["synthesis"]["b16"]["torgb"]["weight"]).max() > 0


def test_a_batch_depends_on_seed_and_step_alone(run, shards):
    batches = [fitting.ray_batch(run, shards, step) for step in (3, 4, 3)]
    jax.tree.map(np.testing.assert_array_equal, batches[0], batches[2])
    assert not np.array_equal(batches[0].rgb, batches[1].rgb)
    other = fitting.ray_batch(dataclasses.replace(run, seed=run.seed + 1), shards, 3)
    assert not np.array_equal(batches[0].rgb, other.rgb)


def test_held_out_identities_are_never_trained_on(run, shards):
    seen = np.concatenate([fitting.ray_batch(run, shards, step).z for step in range(1, 30)])
    trained = [shards[i]["z"] for i in range(4)]
    assert {z.tobytes() for z in seen} == {np.asarray(z).tobytes() for z in trained}


def test_rays_reach_their_own_pixels_at_the_distance_of_the_render(run, shards):
    grid = run.generator.neural_rendering_resolution
    size = run.data.resolution // grid
    assert size == 2
    batch = fitting.ray_batch(run, shards, 1)
    solid = passing = 0
    for i, z in enumerate(batch.z):
        entry = next(shards[j] for j in range(len(shards)) if np.array_equal(shards[j]["z"], z))
        positions = np.asarray(entry["cam2world"])[:, :3, 3]
        for ray in range(run.rays_per_identity):
            origin, direction = batch.rays.origins[i, ray], batch.rays.directions[i, ray]
            view = int(np.argmin(np.linalg.norm(positions - origin, axis=-1)))
            camera = cameras.Camera(entry["cam2world"][view], shards.intrinsics)
            distance, guide = batch.distance[i, ray], batch.guide[i, ray]
            uv, _ = cameras.project(camera, (origin + (distance or 1.0) * direction)[None])
            place = np.asarray(uv[0])[::-1] * grid - 0.5
            row, column = np.round(place).astype(int)
            np.testing.assert_allclose(place, (row, column), atol=1e-3)
            within = view, slice(size * row, size * (row + 1)), slice(size * column, size * (column + 1))
            np.testing.assert_allclose(batch.rgb[i, ray], entry["image"][within].mean((0, 1)) / 255, atol=1e-6)
            np.testing.assert_allclose(batch.alpha[i, ray], entry["alpha"][within].mean() / 255, atol=1e-6)
            found = entry["distance"][within].astype(np.float32)
            if not found.any():
                assert distance == 0
                reach = [(size * x - batches.NEAR, size * x + batches.NEAR + 1) for x in (row, column)]
                near = tuple(slice(max(first, 0), stop) for first, stop in reach)
                assert guide == 0 or guide in entry["distance"][view][near]
                passing += guide > 0
            else:
                assert guide == distance
                found = found[found > 0]
                together = np.ptp(found) < batches.JUMP
                assert distance == pytest.approx(found.mean() if together else found.min(), abs=1e-6)
                solid += 1
    assert solid > 4 and passing > 0


@pytest.mark.parametrize("guide, low, high", [(2.4, 2.35, 2.45), (0.0, 2.55, 2.85)])
def test_samples_lie_where_the_batch_says_or_where_a_ray_meets_density(run, shards, monkeypatch, guide, low, high):
    def ball(config, variables, planes, points):
        inside = jnp.linalg.norm(points, axis=-1) < 0.15
        return jnp.where(inside, 30.0, -100.0), jnp.ones(points.shape[:-1] + (4,))

    monkeypatch.setattr(generator, "decode", ball)
    run = dataclasses.replace(run, stratified_samples=16, importance_samples=32, guided_samples=32, guide_spread=0.01)
    batch = fitting.ray_batch(run, shards, 1)
    shape = batch.alpha.shape
    along = jnp.broadcast_to(jnp.array([0.0, 0.0, 1.0]), shape + (3,))
    batch = batch.replace(rays=cameras.Rays(2.7 * along, -along), guide=jnp.full(shape, guide))
    variables = fitting.initial_variables(run)
    render = jax.jit(lambda batch, key: supervision.render_guided(run, 16, variables, batch, key))
    found = render(batch, jax.random.key(0))
    # Of samples spread over all of the limits, a third lie within the ball and a ninth around the guide.
    within = np.mean(np.sum((found["depths"] > low) & (found["depths"] < high), axis=-1))
    assert within > 32 * (0.95 if guide else 0.8 + 0.3)
    np.testing.assert_allclose(found["opacity"], 1, atol=0.05)


def test_finishing_renders_what_the_renderer_does(run, shards):
    batch, variables = fitting.ray_batch(run, shards, run.steps + 1), fitting.initial_variables(run)
    config, key = run.generator, jax.random.key(0)

    @jax.jit
    def expected(batch):
        ws = generator.map_latents(config, variables, batch.z)
        planes = triplane.split_channels(generator.synthesize_planes(config, variables, ws).last, 3)
        rays = jax.tree.map(lambda x: x[:, None], batch.rays)
        march = lambda planes, rays, key: generator.march(config, variables, planes, rays, key=key)  # noqa: E731
        samples = jax.vmap(march)(planes, rays, jax.random.split(key, len(batch.z)))
        return generator.feature_image(config, samples)[:, 0, :, :3], samples.opacity[:, 0], samples.distance[:, 0]

    image, opacity, distance = expected(batch)
    found = jax.jit(lambda batch: supervision.render_finally(run, 16, variables, batch, key))(batch)
    np.testing.assert_allclose(found["rgb"], (image + 1) / 2, atol=1e-6)
    np.testing.assert_allclose(found["opacity"], opacity, atol=1e-6)
    assert np.all(np.diff(found["depths"]) >= 0)
    # The renderer's distance is of the middles of intervals, these are of their ends; both are sorted along the ray.
    mean, seen = np.sum(found["weights"] * found["depths"], axis=-1) / found["opacity"], opacity > 0.1
    assert seen.any()
    np.testing.assert_allclose(mean[seen], distance[seen], atol=0.02)


def test_training_starts_from_a_checkpoint_of_the_same_architecture(run, straight):
    run = dataclasses.replace(run, start_from=str(straight / "model"), steps=0)
    assert run.plane_resolution(1) == run.generator.plane_resolution
    found, expected = fitting.initial_variables(run), checkpoints.load(straight / "model").variables
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    state = fitting.create_state(run, found["params"])
    made = fitting.finish(run, found["buffers"], state)
    assert dict(made.info)["origin"].endswith(f"from {checkpoints.load(straight / 'model').fingerprint}")
    rates = [float(fitting.learning_rate(run)(step)) for step in range(run.finish_steps + 1)]
    assert rates[0] == 0 and max(rates) == pytest.approx(run.finish_learning_rate)
    with pytest.raises(ValueError, match="another architecture"):
        fitting.initial_variables(dataclasses.replace(run, generator=dataclasses.replace(run.generator, w_dim=8)))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"resolution": 32}, "config.data.resolution is 32, the generator's images have 16 pixels"),
        ({"held_out": 5}, "config.data.held_out is 5 of 5 identities"),
        ({"neural_rendering_resolution": 6}, "config.data.resolution is 16, no multiple of .* resolution of 6"),
    ],
)
def test_data_that_cannot_be_trained_on_are_refused_before_they_are_rendered(shrunk, tmp_path, change, message):
    config = shrunk("heads_backbone_cpu.py")
    for name, value in change.items():
        (config.data if name in config.data else config.generator)[name] = value
    with pytest.raises(ValueError, match=message):
        fitting.main(config, str(tmp_path))
    assert not list(tmp_path.iterdir())
