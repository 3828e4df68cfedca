"""What rays and whole images are compared in: estimates of the error that is meant, blind to what does not count."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax import cli
from dnerf_jax.models import perception, scenes
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.losses import cross_entropy
from dnerf_jax.training.inversion import objectives, stages
from dnerf_jax.training.inversion import subject as subjects
from dnerf_jax.training.inversion.objectives import Target
from dnerf_jax.training.inversion.plan import Settings, Stage
from dnerf_jax.training.inversion.subject import Subject

pytestmark = pytest.mark.slow  # all render

RAYS, CLASSES = 64, 5
STAGE = Stage(9, 0.1, 0.1, RAYS, whole=False, newton=0, perceptual=0.0, staying=0.0, patience=0)


@pytest.fixture(scope="module")
def subject(tiny_model):
    """A latent from two poses."""
    z = jnp.asarray(np.random.default_rng(1).standard_normal(8), jnp.float32)
    return Subject(z, None, subjects.default_orbit(tiny_model, jnp.array([0.3, -0.2]), jnp.array([0.1, 0.0])))


@pytest.fixture(scope="module")
def views(tiny_semantic_model, subject):
    """What is seen of it."""

    @jax.jit
    def see(model, subject):
        scene = subjects.synthesize(model, subject)
        return scenes.render(model, scene, subjects.camera_of(subject), skip_empty=True)

    return see(tiny_semantic_model, subject)


@pytest.fixture(scope="module")
def target(generator_of_targets):
    """Two views that have nothing to do with it: images of noise, masks of blocks, partly of weight 0 and ignored."""
    draws = generator_of_targets
    image = jnp.asarray(np.kron(draws.uniform(-1, 1, (2, 8, 8, 3)), np.ones((1, 2, 2, 1))), jnp.float32)
    mask = np.kron(draws.integers(0, CLASSES, (2, 8, 8)), np.ones((1, 2, 2))).astype(np.uint8)
    mask[:, :4] = LabelMap.IGNORE
    weights = np.ones((2, 16, 16), np.float32)
    weights[:, :, :6] = 0
    weights[0] *= 0.5
    return Target(image, jnp.asarray(mask), jnp.asarray(weights), jnp.linspace(0.5, 2, CLASSES))


@pytest.fixture(scope="module")
def generator_of_targets():
    return np.random.default_rng(2)


@pytest.fixture(scope="module")
def estimates(tiny_semantic_model, subject):
    """Residuals' squares and losses of 150 keys: estimates(target)."""

    @jax.jit
    def many(model, seen):
        params = subjects.free_part(subject, "z", ("yaw",))

        def one(key):
            squares = jnp.sum(jnp.square(objectives.residuals(RAYS, model, seen, params, key)))
            return squares, objectives.ray_loss(RAYS, model, seen, params, jax.random.clone(key))

        return jax.lax.map(one, jax.random.split(jax.random.key(7), 150))

    def of(target):
        seen = objectives.prepare(tiny_semantic_model.generator.config, target, subject, CLASSES)
        return jax.tree.map(np.asarray, many(tiny_semantic_model, seen))

    return of


def reduced(x):
    """Means of blocks of two by two pixels with their neighbours, as antialiased resizing has them."""
    return np.asarray(jax.image.resize(x, (2, 8, 8, *x.shape[3:]), "linear", antialias=True))


def test_squares_of_residuals_and_losses_estimate_the_weighted_error(estimates, target, views):
    squares, losses = estimates(target.replace(mask=None))
    np.testing.assert_allclose(squares, losses, rtol=1e-4)
    weights = reduced(target.weights)
    image = reduced(target.image * target.weights[..., None]) / np.maximum(weights, 1e-6)[..., None]
    expected = np.mean(weights * np.mean(np.square(views.image_raw - image), axis=-1))
    assert np.mean(squares) == pytest.approx(expected, rel=0.03)


def test_what_has_no_weight_counts_nothing(estimates, target):
    other = jnp.where(target.weights[..., None] == 0, -0.7, target.image)
    before, after = (estimates(target.replace(mask=None, image=image)) for image in (target.image, other))
    np.testing.assert_allclose(before, after, rtol=1e-5)


def expected_entropy(target, views):
    """The mean over all pixels, of those that are known, by hand."""
    known = np.asarray(target.mask) != LabelMap.IGNORE
    one_hot = np.eye(CLASSES)[np.where(known, target.mask, 0)] * known[..., None]
    wanted = reduced(jnp.asarray(one_hot))
    scores = np.asarray(jax.nn.log_softmax(views.semantic_raw))
    return -np.mean(np.sum(wanted * scores, axis=-1) * (wanted @ np.asarray(target.class_weights)))


def test_labels_are_weighted_cross_entropy_of_what_is_known(estimates, target, views):
    squares, losses = estimates(target.replace(image=None))
    assert np.mean(losses) == pytest.approx(expected_entropy(target, views), rel=0.03)
    assert (squares > 0).all()
    nothing = jnp.full_like(target.mask, LabelMap.IGNORE)
    for found in estimates(target.replace(image=None, mask=nothing)):
        np.testing.assert_array_equal(found, 0)


def test_beside_an_image_labels_weigh_little(estimates, target, views):
    """Their rays are the image's: where that has no weight they are seldom chosen, and weigh much. Here it has."""
    whole = target.replace(weights=jnp.ones_like(target.weights))
    _, image = estimates(whole.replace(mask=None))
    _, both = estimates(whole)
    added = objectives.CLASSES * expected_entropy(target, views)
    assert np.mean(both) - np.mean(image) == pytest.approx(added, rel=0.1)


def test_background_is_looked_at_less(tiny_config, target, subject):
    black = jnp.where(jnp.arange(16)[:, None, None] < 8, -1.0, 0.5) * jnp.ones((2, 16, 16, 3))
    plain = Target(black, None, jnp.ones((2, 16, 16)))
    chance = np.asarray(objectives.prepare(tiny_config, plain, subject, 0).chance).reshape(2, 8, 8)
    assert chance.sum() == pytest.approx(1)
    np.testing.assert_allclose(chance[:, 1] / chance[:, 6], objectives.EMPTY, rtol=1e-3)


def test_whole_images_are_compared_as_they_are(tiny_semantic_model, subject, views, monkeypatch):
    """At the truth nothing is left but the labels' entropy; elsewhere the parts add up."""
    calls = []

    def distance(network, a, b, *, weights):
        calls.append(weights.shape)
        return network * jnp.mean(jnp.abs(a - b))

    monkeypatch.setattr(perception, "distance", distance)
    ones, params = jnp.ones((2, 16, 16)), subjects.free_part(subject, "z", ())
    truth = Target(views.image, views.mask, ones)
    loss = jax.jit(objectives.image_loss, static_argnums=(0, 1))

    def of(target):
        seen = objectives.prepare(tiny_semantic_model.generator.config, target, subject, CLASSES, jnp.float32(3.0))
        return [float(loss(16, 0.5, tiny_semantic_model, seen, params, jax.random.key(i))) for i in range(4)]

    entropy = [float(cross_entropy(views.logits[v], views.mask[v])) * objectives.CLASSES for v in (0, 1)]
    found = of(truth)
    assert all(min(abs(value - one) for one in entropy) < 1e-4 for value in found)
    assert len({round(value, 4) for value in found}) == 2  # both views are drawn
    shifted = of(truth.replace(image=views.image + 0.2))
    np.testing.assert_allclose(np.array(shifted) - found, 0.2**2 + 0.5 * 3 * 0.2, rtol=1e-3)
    assert calls and set(calls) == {(16, 16)}


def test_a_stage_has_one_loss_and_pays_for_leaving_w():
    assert objectives.of_stage("z", STAGE) is objectives.of_stage("z", STAGE)
    assert objectives.residuals_of(5) is objectives.residuals_of(5)
    ws = jnp.broadcast_to(jnp.arange(16.0), (5, 16))
    assert float(objectives.leaving({"ws": ws})) == 0
    assert float(objectives.leaving({"ws": ws.at[0, 0].add(1.0)})) > 0


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("given", ["mask", "both"])
def test_a_mask_alone_is_compared_as_it_is(tiny_semantic_model, subject, target, shrunk, monkeypatch, whole, given):
    """In W+, where its classes weigh what they weigh in the final mask; photos and z have their own `whole`."""
    settings = cli.as_dataclass(shrunk("invert.py"), Settings)
    settings = dataclasses.replace(settings, stages=("w", "w+"), whole_masks=whole)
    asked = {}

    def of_stage(name, stage):
        asked[name] = stage.whole
        return lambda model, seen, params, key: jnp.sum(jnp.square(params["ws"]))

    monkeypatch.setattr(objectives, "of_stage", of_stage)
    monkeypatch.setattr(stages, "scores", lambda *_: {"miou": 0.5})
    one = target if given == "both" else target.replace(image=None)
    stages.run(settings, tiny_semantic_model, one, begin=subject)
    assert asked == {"w": False, "w+": whole and given == "mask"}
