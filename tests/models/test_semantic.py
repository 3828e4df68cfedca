"""The semantic branch equals the paper's function in its direct form, which these tests write out."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.models import semantic
from dnerf_jax.models.generator import GeneratorConfig
from dnerf_jax.models.semantic import Branch, Selected, SemanticConfig
from dnerf_jax.networks import semantic_head
from dnerf_jax.networks.stylegan2 import BlockOutputs
from dnerf_jax.ops import volume

FEATURES = ("hidden", "skip", "last", "hidden+last")
CHANNELS = ("split", "concatenated", "all")
AGGREGATIONS = ("sum", "mean", "none")
# Numbers of channels that three does not divide, fewer than three among them.
HIDDEN = {"b4": (4, 8), "b8": (8, 7), "b16": (16, 5)}
IMAGE = 12
WIDTHS = {"hidden": (8, 7, 5), "skip": (12, 12, 12), "last": (12,), "hidden+last": (8, 7, 5, 12)}


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def small(**changes):
    defaults = {"num_classes": 5, "hidden": 6, "feature_channels": 7, "superresolution_width": 4}
    return SemanticConfig(**defaults | changes)


@pytest.fixture(scope="module")
def outputs():
    """Block outputs of two latents whose scales differ in magnitude, as real ones do."""
    hidden = {name: 10 ** (i - 1) * draw(2, r, r, c, seed=i) for i, (name, (r, c)) in enumerate(HIDDEN.items())}
    skip = {name: draw(2, r, r, IMAGE, seed=10 + i) for i, (name, (r, _)) in enumerate(HIDDEN.items())}
    return BlockOutputs(hidden, skip)


@pytest.fixture(scope="module")
def box():
    """Sample points of 3 x 4 rays within and around the box, and their weights; one ray is empty, one opaque."""
    points = np.random.default_rng(1).uniform(-0.55, 0.55, (3, 4, 6, 3)).astype(np.float32)
    weights = np.random.default_rng(2).uniform(0, 0.2, (3, 4, 6)).astype(np.float32)
    weights[0, 0] = 0
    weights[0, 1] /= weights[0, 1].sum()
    return points, weights


def upsample(image, size):
    """Bilinear between pixel centres with repeated edges, as a matrix per axis."""
    old = image.shape[1]
    position = np.clip((np.arange(size) + 0.5) * old / size - 0.5, 0, old - 1)
    low = np.minimum(np.floor(position).astype(int), old - 1)
    high = np.minimum(low + 1, old - 1)
    matrix = np.zeros((size, old))
    matrix[np.arange(size), low] += 1 - (position - low)
    matrix[np.arange(size), high] += position - low
    return np.einsum("ij,nujc->nuic", matrix, np.einsum("ij,njvc->nivc", matrix, image))


def sample_plane(image, points, axes):
    """Bilinear samples (N, C) of a plane (R, R, C) of the unit box at points (N, 3); zeros outside."""
    size = len(image)
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)))
    x, y = (np.clip(((2 * points[:, axis] + 1) * size - 1) / 2, -1.5, size + 0.5) for axis in axes)
    out = 0
    for row in (np.floor(y).astype(int), np.floor(y).astype(int) + 1):
        for column in (np.floor(x).astype(int), np.floor(x).astype(int) + 1):
            weight = (1 - np.abs(x - column)) * (1 - np.abs(y - row))
            out = out + weight[:, None] * padded[row + 2, column + 2]
    return out


def scales(config, outputs):
    """The chosen block outputs at unit mean square, coarse to fine: what the branch is a function of."""
    names = list(HIDDEN)
    chosen = {
        "hidden": [outputs.hidden[name] for name in names],
        "skip": [outputs.skip[name] for name in names],
        "last": [outputs.skip["b16"]],
    }
    chosen["hidden+last"] = chosen["hidden"] + chosen["last"]
    return [x / np.sqrt(np.mean(x**2, axis=(1, 2, 3), keepdims=True)) for x in chosen[config.features]]


def direct_features(config, outputs, points):
    """f(x) at points (N, 3) of the second latent: upsample, concatenate, lay on planes, sample, sum."""
    upsampled = [upsample(x, 16)[1] for x in scales(config, outputs)]
    on_planes = [[], [], []]
    for x in [np.concatenate(upsampled, axis=-1)] if config.channels == "concatenated" else upsampled:
        third = -(-x.shape[-1] // 3)
        padded = np.pad(x, ((0, 0), (0, 0), (0, 3 * third - x.shape[-1])))
        for plane, axes in enumerate([(0, 1), (0, 2), (2, 0)]):
            part = x if config.channels == "all" else padded[..., plane * third : (plane + 1) * third]
            on_planes[plane].append(sample_plane(part, points, axes))
    on_planes = np.stack([np.concatenate(parts, axis=-1) for parts in on_planes])
    if config.aggregation == "none":
        return np.concatenate(on_planes, axis=-1)
    return on_planes.sum(axis=0) / {"sum": 1, "mean": 3}[config.aggregation]


def direct_hidden(config, outputs, params, points):
    """f(x), W_1 f(x) + b_1 and its softplus at points (..., 3)."""
    f = direct_features(config, outputs, points.reshape(-1, 3).astype(np.float64))
    weight = params["first_weight"]
    assert f.shape[-1] == weight.shape[0]
    before = f @ weight / np.sqrt(weight.shape[0]) + params["first_bias"]
    f, before = (x.reshape(points.shape[:-1] + x.shape[-1:]) for x in (f, before))
    return f, before, np.logaddexp(0, before)


def direct(config, outputs, params, points, weights):
    """phi: the last layer at every sample, then compositing, then the background."""
    params = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    _, _, hidden = direct_hidden(config, outputs, params, points)
    values = hidden @ params["last"]["weight"] / np.sqrt(config.hidden) + params["last"]["bias"]
    phi = np.sum(weights[..., None] * values, axis=-2)
    return phi + (1 - np.sum(weights, axis=-1, keepdims=True)) * params["background"]


def direct_gradient(config, outputs, params, points, weights, cotangent):
    """The gradient of sum(phi * cotangent) in the parameters, by hand."""
    params = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    f, before, hidden = direct_hidden(config, outputs, params, points)
    at_samples = weights[..., None] * cotangent[..., None, :]
    at_hidden = at_samples @ params["last"]["weight"].T / np.sqrt(config.hidden) / (1 + np.exp(-before))
    return {
        "first_weight": np.einsum("hwsi,hwso->io", f, at_hidden) / np.sqrt(f.shape[-1]),
        "first_bias": at_hidden.sum((0, 1, 2)),
        "last": {
            "weight": np.einsum("hwsi,hwso->io", hidden, at_samples) / np.sqrt(config.hidden),
            "bias": at_samples.sum((0, 1, 2)),
        },
        "background": np.sum((1 - weights.sum(-1, keepdims=True)) * cotangent, (0, 1)),
    }


def commuting(config, generator_config, outputs, params, points, weights):
    """The same as the library computes it."""
    features = semantic.select_features(config, outputs)
    branch = Branch(config, params)
    planes = semantic.synthesize_planes(branch, generator_config, features)
    return semantic.render(branch, generator_config, planes[1], Selected(points, weights))


@pytest.fixture(scope="module")
def prepared(tiny_config, random_arrays):
    """For a configuration: a generator's configuration with these widths, and random parameters."""

    def prepare(config):
        module = semantic_head.SemanticHead(config, WIDTHS[config.features], tiny_config.image_resolution)
        sizes = {"last": [16], "hidden+last": [4, 8, 16, 16]}.get(config.features, [4, 8, 16])
        pairs = zip(sizes, WIDTHS[config.features], strict=True)
        template = [jnp.zeros((1, size, size, width)) for size, width in pairs]
        return random_arrays(jax.eval_shape(module.init, jax.random.key(0), template)["params"], 5)

    return prepare


@pytest.fixture(autouse=True)
def odd_widths(monkeypatch):
    """The generator's configuration has powers of two; here the branch meets widths that three does not divide."""
    monkeypatch.setattr(semantic, "feature_widths", lambda config, _: WIDTHS[config.features])
    return monkeypatch


def assert_close(ours, expected, tolerance=1e-5):
    assert np.linalg.norm(expected) > 0
    assert np.linalg.norm(ours - expected) < tolerance * np.linalg.norm(expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("features", "channels", "aggregation"),
    [(features, channels, "sum") for features in FEATURES for channels in CHANNELS]
    + [("hidden", channels, aggregation) for channels in CHANNELS for aggregation in ("mean", "none")],
)
def test_commuting_form_is_the_direct_form(features, channels, aggregation, outputs, box, prepared, tiny_config):
    config = small(features=features, channels=channels, aggregation=aggregation)
    params = prepared(config)
    cotangent = draw(3, 4, 7, seed=9)

    @jax.jit
    def ours(params):
        phi, vjp = jax.vjp(lambda p: commuting(config, tiny_config, outputs, p, *box), params)
        return phi, vjp(cotangent)[0]

    phi, gradient = ours(params)
    assert phi.shape == (3, 4, 7)
    assert_close(phi, direct(config, outputs, params, *box))
    expected = direct_gradient(config, outputs, params, *box, cotangent)
    jax.tree.map(assert_close, {name: gradient[name] for name in expected}, expected)


@pytest.mark.slow
def test_empty_rays_are_background_and_opaque_ones_are_not(outputs, box, prepared, tiny_config):
    config = small()
    params = prepared(config)
    phi = jax.jit(partial(commuting, config, tiny_config))(outputs, params, *box)
    np.testing.assert_allclose(phi[0, 0], params["background"], atol=1e-5)
    moved = params | {"background": params["background"] + 3}
    shift = jax.jit(partial(commuting, config, tiny_config))(outputs, moved, *box) - phi
    np.testing.assert_allclose(shift, 3 * (1 - box[1].sum(-1))[..., None] * np.ones(7), atol=1e-4)
    np.testing.assert_allclose(shift[0, 1], 0, atol=1e-5)


@pytest.mark.slow
def test_own_density_weighs_what_it_sees(outputs, box, prepared, tiny_config):
    config = small(density_prior=False, features="skip")
    params = prepared(config)
    params["density"] = jax.tree.map(lambda x: 8 * x, params["density"])
    points = box[0]
    rng = np.random.default_rng(3)
    depths = np.sort(rng.uniform(2, 4, (3, 4, 6)), axis=-1).astype(np.float32)
    order = np.argsort(rng.random((3, 4, 6)), axis=-1)
    unsorted = np.take_along_axis(depths, np.argsort(order, axis=-1), axis=-1)  # as the points are

    def ours(params):
        branch = Branch(config, params)
        planes = semantic.synthesize_planes(branch, tiny_config, semantic.select_features(config, outputs))
        selected = Selected(points, depths=unsorted, order=order)
        return semantic.render(branch, tiny_config, planes[1], selected)

    ordered = np.take_along_axis(points, order[..., None], axis=-2)
    _, _, hidden = direct_hidden(config, outputs, params, ordered)
    sigma = hidden @ params["density"]["weight"] / np.sqrt(6) + params["density"]["bias"]
    weights = volume.sample_weights(volume.weights_from_density(sigma[..., 0].astype(np.float32), depths))
    phi, vjp = jax.vjp(jax.jit(ours), params)
    assert_close(phi, direct(config, outputs, params, ordered, np.asarray(weights)))
    assert np.linalg.norm(vjp(phi)[0]["density"]["weight"]) > 1e-3


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("channels", CHANNELS)
def test_every_channel_is_laid_down_once_per_weight(channels, aggregation):
    """Plane slices cover all channels, in order, with rows that fit, whatever three leaves over."""
    for widths in [(1,), (2, 3), (4, 5, 7), (12, 1, 2, 8), (981, 7)]:
        layout, rows = semantic_head.plane_slices(small(channels=channels, aggregation=aggregation), widths)
        used = []
        for pieces, width in zip(layout, widths, strict=True):
            covered = np.zeros(width, int)
            for plane, begin, end, row in pieces:
                assert 0 <= begin < end <= width and row >= 0 and row + end - begin <= rows
                covered[begin:end] += 1
                used += [(plane, r) for r in range(row, row + end - begin)]
            np.testing.assert_array_equal(covered, 3 if channels == "all" else 1)
        # No weight of a plane serves two channels.
        assert len(used) == len(set(used))
        shared = {"all": sum(widths), "concatenated": -(-sum(widths) // 3), "split": sum(-(-w // 3) for w in widths)}
        if aggregation == "none":
            # Planes have rows of their own. Three may not divide a width, which leaves a row of a later plane unused.
            assert rows == 3 * shared[channels]
            assert all(plane == r // shared[channels] for plane, r in used)
        else:
            assert rows == shared[channels] and {r for _, r in used} == set(range(rows))


@pytest.mark.parametrize("classes", [5, 9])
def test_raw_map_is_the_first_channels_or_a_linear_head(classes, prepared, tiny_config):
    config = small(num_classes=classes)  # with feature maps of 7 channels
    params = prepared(config)
    phi = draw(2, 4, 4, 7)
    super_resolve = jax.jit(lambda params, phi: semantic.super_resolve(Branch(config, params), tiny_config, phi))
    raw, logits = super_resolve(params, phi)
    assert raw.shape == (2, 4, 4, classes) and logits.shape == (2, 16, 16, classes)
    if classes <= 7:
        np.testing.assert_array_equal(raw, phi[..., :classes])
        assert "head" not in params
    else:
        head = params["head"]
        np.testing.assert_allclose(raw, phi @ head["weight"] / np.sqrt(7) + head["bias"], rtol=1e-4, atol=1e-5)
    # U_s adds to the upsampled raw map: with its last layer silenced, that is what is left.
    silent = params | {
        "superresolution": params["superresolution"]
        | {"to_logits": jax.tree.map(jnp.zeros_like, params["superresolution"]["to_logits"])}
    }
    _, plain = super_resolve(silent, phi)
    np.testing.assert_allclose(plain, upsample(raw, 16), atol=1e-5)
    assert np.abs(logits - plain).max() > 0.1


def test_scales_are_selected_coarse_to_fine(outputs):
    for features, widths in WIDTHS.items():
        selected = semantic.select_features(small(features=features), outputs)
        assert tuple(x.shape[-1] for x in selected) == widths
        resolutions = [x.shape[-2] for x in selected]
        assert resolutions == sorted(resolutions) and resolutions[-1] == 16


def test_widths_follow_from_the_generator(tiny_config, odd_widths):
    odd_widths.undo()  # the real function
    published = [sum(semantic.feature_widths(small(features=name), GeneratorConfig())) for name in ("hidden", "skip")]
    assert published == [2944, 672]  # as the paper counts them
    expected = {"hidden": (16, 16, 8), "skip": (12,) * 3, "last": (12,), "hidden+last": (16, 16, 8, 12)}
    for features, widths in expected.items():
        assert semantic.feature_widths(small(features=features), tiny_config) == widths
        config = small(features=features, channels="all", aggregation="none")
        params = semantic.abstract(config, tiny_config).params
        assert params["first_weight"].shape[0] == 3 * sum(widths)


@pytest.mark.parametrize("features", ["hidden", "skip", "hidden+last"])
def test_a_branch_of_some_scales_is_one_that_gives_the_others_no_weight(features, outputs, odd_widths, tiny_config):
    odd_widths.undo()
    every, some = (small(features=features, channels="all", scales=scales) for scales in (None, (4, 16)))
    widths, fewer = (semantic.feature_widths(config, tiny_config) for config in (every, some))
    sizes = dict(HIDDEN.values())
    wide = BlockOutputs({f"b{r}": draw(2, r, r, w, seed=r) for r, w in zip(sizes, widths, strict=False)}, outputs.skip)
    left = [i for i in range(len(widths)) if i != 1]
    assert fewer == tuple(widths[i] for i in left)
    assert semantic.feature_resolutions(some, tiny_config) == ((4, 16, 16) if "last" in features else (4, 16))
    selected = [semantic.select_features(config, wide) for config in (every, some)]
    assert [x.shape[-1] for x in selected[1]] == list(fewer)
    branch = semantic.init(some, tiny_config, jax.random.key(0))
    first = np.asarray(branch.params["first_weight"])
    assert first.shape == (sum(fewer), 6)
    # The rows of the scale that is left out are zero; the gain of all others is that of fewer rows.
    zeros = np.zeros((widths[1], 6), np.float32)
    weight = np.concatenate([first[: widths[0]], zeros, first[widths[0] :]]) * np.sqrt(sum(widths) / sum(fewer))
    whole = Branch(every, {**branch.params, "first_weight": weight.astype(np.float32)})
    expected = semantic.synthesize_planes(whole, tiny_config, selected[0])
    np.testing.assert_allclose(semantic.synthesize_planes(branch, tiny_config, selected[1]), expected, atol=1e-5)


def test_scales_that_there_are_not_are_refused(odd_widths, tiny_config):
    odd_widths.undo()
    with pytest.raises(ValueError, match=r"scales has \[32\], but this generator's blocks have .* \[4, 8, 16\]"):
        semantic.abstract(small(scales=(8, 32)), tiny_config)
    for scales in ((), (8, 4), (8, 8)):
        with pytest.raises(ValueError, match="expected resolutions of blocks, the coarse before the fine"):
            small(scales=scales)
    with pytest.raises(ValueError, match="features='last' takes none of their outputs"):
        small(features="last", scales=(16,))


@pytest.mark.parametrize("channels, aggregation", [("all", "sum"), ("all", "none"), ("split", "none")])
def test_a_channels_rows_shrink_together(channels, aggregation, prepared, tiny_config):
    config = small(features="hidden+last", channels=channels, aggregation=aggregation)
    branch, widths = Branch(config, prepared(config)), WIDTHS["hidden+last"]
    layout, _ = semantic_head.plane_slices(config, widths)

    def rows(i, channel, first):
        return np.concatenate([first[row + channel - b] for _, b, e, row in layout[i] if b <= channel < e])

    norms = semantic.channel_norms(branch, tiny_config)
    assert tuple(map(len, norms)) == widths
    by = float(np.median(np.concatenate(norms)))
    shrunk = semantic.shrink_channels(branch, tiny_config, by)
    silent = 0
    for i, of_scale in enumerate(norms):
        for channel, norm in enumerate(of_scale):
            before, after = (rows(i, channel, np.asarray(x.params["first_weight"])) for x in (branch, shrunk))
            np.testing.assert_allclose(norm, np.sqrt(np.mean(before**2)), rtol=1e-5)
            np.testing.assert_allclose(after, before * max(0, 1 - by / norm), rtol=1e-4, atol=1e-6)
            silent += not after.any()
    assert 0.4 < silent / sum(widths) < 0.6
    assert all(shrunk.params[name] is branch.params[name] for name in branch.params if name != "first_weight")


def test_channels_that_share_rows_cannot_be_told_apart(prepared, tiny_config):
    with pytest.raises(ValueError, match="channels='split' and aggregation='sum' three channels share a row"):
        semantic.channel_norms(Branch(small(), prepared(small())), tiny_config)


def test_features_in_half_precision_stay_so_and_have_unit_scale():
    # Values whose squares half precision cannot hold.
    hidden = {"b4": jnp.asarray(1e4 * draw(2, 4, 4, 8), jnp.float16)}
    (selected,) = semantic.select_features(small(), BlockOutputs(hidden, {"b4": draw(2, 4, 4, IMAGE)}))
    assert selected.dtype == jnp.float16
    np.testing.assert_allclose(np.mean(np.square(selected, dtype=np.float32), axis=(1, 2, 3)), 1, rtol=1e-2)


def test_a_branch_needs_classes(tiny_config):
    with pytest.raises(ValueError, match="num_classes is 0, expected that of a label map"):
        semantic.abstract(SemanticConfig(), tiny_config)
