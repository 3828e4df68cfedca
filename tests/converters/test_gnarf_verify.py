"""Recordings of bodies in poses against ours, and that the comparison notices what it should."""

import dataclasses
import json
import types
from pathlib import Path

import jax
import numpy as np
import pytest

from converters import comparison, gnarf_golden, gnarf_verify, verify
from dnerf_jax.models import articulated, marching
from dnerf_jax.models.generator import GeneratorConfig
from dnerf_jax.ops import articulation

GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.fixture(scope="module")
def deformed():
    """The recorded deformation."""
    return gnarf_golden.load(GOLDEN / "gnarf_deform.json")


@pytest.fixture(scope="module")
def rendered():
    """The recorded rendering."""
    return gnarf_golden.load(GOLDEN / "gnarf_render.json")


def once(function):
    """A pure function that is computed once for equal arguments: what changes below is mostly what was recorded."""
    known = {}

    def ask(*arguments, **options):
        leaves, structure = jax.tree.flatten((arguments, options))
        every = (np.asarray(x) for x in leaves)
        key = str(structure), *((x.shape, x.dtype.str, x.tobytes()) for x in every)
        if key not in known:
            known[key] = function(*arguments, **options)
        return known[key]

    return ask


@pytest.fixture(scope="module", autouse=True)
def _ours_once():
    """As `verify` computes it; what meets many rays with many faces is compiled as users have it, for its run."""
    options = {"xla_backend_optimization_level": 3, "xla_llvm_disable_expensive_passes": False}
    with jax.default_matmul_precision("highest"), pytest.MonkeyPatch.context() as patched:
        patched.setattr(gnarf_verify, "_layers", once(gnarf_verify._layers))
        patched.setattr(gnarf_verify, "_march", once(jax.jit(marching.march, compiler_options=options)))
        limits = jax.jit(articulated.ray_limits, compiler_options=options)
        patched.setattr(gnarf_verify, "_ray_limits", once(limits))
        parts = {name: once(getattr(articulation, name)) for name in ("steepest_face", "nearest_face", "to_canonical")}
        patched.setattr(gnarf_verify, "articulation", types.SimpleNamespace(**vars(articulation) | parts))
        yield


def failed(lines):
    return [line.stage for line in lines if not line.ok]


def changed(recorded, **arrays):
    """The recording with other arrays, each given as a function of its own."""
    return dataclasses.replace(
        recorded,
        arrays=dict(recorded.arrays) | {name: change(recorded.arrays[name].copy()) for name, change in arrays.items()},
    )


def moved(by, where=()):
    """What adds a number at a place."""

    def change(array):
        array[where] += np.asarray(by, array.dtype)
        return array

    return change


def test_the_recorded_deformation_is_within_tolerance(deformed, capsys):
    assert verify.main(str(GOLDEN / "gnarf_deform.json")) == 0
    text = capsys.readouterr().out
    assert "vertex/face: left out are 529 of 5600 points" in text and "all stages are within tolerance" in text
    for rule in ("vertex", "triangle"):
        assert [line.split()[3] for line in text.splitlines() if line.startswith(f"{rule}/box ")] == ["2e-05", "5e-06"]
    lines = {line.stage: line for line in gnarf_verify.deformation(deformed)}
    assert lines["vertex/face"].error == 0 and lines["vertex/near"].tolerance == 1e-6


@pytest.mark.parametrize(
    ("arrays", "stages"),
    [
        ({"canonical": moved(3e-6, 7)}, ["vertex/near"]),
        ({"canonical": moved(1e-4, -1)}, ["vertex/box"]),
        ({"canonical": moved(1e-5, slice(-200, None))}, ["vertex/box"]),  # not one far, but many
        ({"true_canonical": moved(1e-4, -1)}, ["triangle/box"]),
        ({"true_distance": moved(3e-6, 5)}, ["triangle/distance"]),
        ({"true_closest": moved(3e-6, slice(0, 100))}, ["triangle/closest"]),
        ({"face": lambda x: np.where(np.arange(len(x)) < 20, 0, x)}, ["vertex/face", "vertex/near"]),
        ({"nearest_vertex": moved(1, slice(0, 5))}, ["vertex/distance"]),
        ({"v_faces": lambda x: np.broadcast_to(x[:1], x.shape)}, ["v_faces"]),
        ({"simple_posed": moved(1e-5, (0, 9))}, ["simple_posed"]),  # a pose that no point is of
    ],
)
def test_a_deformation_that_is_another_is_noticed(deformed, arrays, stages):
    assert failed(gnarf_verify.deformation(changed(deformed, **arrays))) == stages


def test_another_pose_is_another_deformation(deformed):
    other = dataclasses.replace(deformed, posed=deformed.arrays["simple_posed"][3])
    assert {"vertex/near", "triangle/near", "triangle/distance"} <= set(failed(gnarf_verify.deformation(other)))


@pytest.mark.slow
def test_recorded_renderings_are_within_tolerance_and_others_are_not(rendered):
    lines = {line.stage: line for line in gnarf_verify.rendering(rendered)}
    assert not failed(lines.values()), comparison.table(list(lines.values()))
    assert len(lines) == 18
    assert lines["far"].note.startswith("left out are of image 0 rays 271, 407, 430, 462; of image 1 rays 20")
    solid = np.argwhere(rendered.arrays["weight_sum"][1, 0] > 0.9)[0]
    at = 1, 0, *solid
    other = changed(
        rendered,
        features=moved(2e-3, at),
        marched_distance=moved(2e-4, at),
        weights=moved(1e-4, (1, 3, 5)),
        depths_all=moved(1e-3, (0, 0)),
        canonical_far=moved(1e-4, 1),
        canonical_weight_sum=moved(2e-3, at),
    )
    expected = ["depths_all", "weights", "features", "marched_distance", "canonical_far"]
    # The canonical image is marched between the changed limits.
    assert failed(gnarf_verify.rendering(other)) == [*expected, "canonical_features", "canonical_weight_sum"]


def test_few_rays_are_left_out_for_their_ties_and_no_others(rendered, monkeypatch):
    """Where a ray is off and one of its samples ties, it is named; where they are many, none is excused."""
    rays, body = types.SimpleNamespace(origins=np.zeros((32, 32, 3)), directions=np.zeros((32, 32, 3))), None
    arrays, size = rendered.arrays, rendered.resolution
    ours = types.SimpleNamespace(
        opacity=arrays["weight_sum"][0, 0], distance=arrays["marched_distance"][0, 0], depths=np.zeros((32, 32, 48))
    )
    monkeypatch.setattr(gnarf_verify, "_march", lambda *_, **__: ours)
    monkeypatch.setattr(gnarf_verify.marching, "feature_image", lambda *_: np.moveaxis(arrays["features"][0], 0, -1))
    monkeypatch.setattr(gnarf_verify, "tied", lambda points, _: np.arange(len(points)) < 48)
    hits = np.flatnonzero((arrays["near"] < arrays["far"])[0])
    for count, excused in ((2, 1), (20, 0)):
        places = (0, 0, *np.unravel_index(hits[:count], (size, size)))
        found = gnarf_verify._image(changed(rendered, features=moved(0.1, places)), 0, "", body, rays)
        assert found["features_left_out"].tolist() == hits[:excused].tolist()
        assert (found["features"] > 1e-3).sum() == count - excused


def test_ties_are_those_of_the_recorded_margins(deformed):
    faces = deformed.arrays["faces"]
    neighbours = articulation.incident(faces, len(deformed.posed))
    body = types.SimpleNamespace(posed=deformed.posed, faces=faces, neighbours=neighbours)
    np.testing.assert_array_equal(gnarf_verify.tied(deformed.arrays["points"], body), ~deformed.sure)


@pytest.fixture
def damaged(tmp_path):
    """Writes a case with changes to its JSON and its arrays, None for what is absent: damaged(name, **changes)."""

    def write(name, options=None, **arrays):
        case = json.loads((GOLDEN / f"{name}.json").read_text())
        for places, value in (options or {}).items():
            *tables, last = places.split("/")
            table = case
            for place in tables:
                table = table[place]
            table[last] = value
        kept = dict(np.load(GOLDEN / f"{name}.npz")) | arrays
        (tmp_path / "case.json").write_text(json.dumps(case))
        np.savez(tmp_path / "case.npz", **{name: x for name, x in kept.items() if x is not None})
        return tmp_path / "case.json"

    return write


@pytest.mark.parametrize(
    ("name", "options", "arrays", "words"),
    [
        ("gnarf_deform", {}, {"points": None}, r"lacks the arrays \['points'\]"),
        ("gnarf_deform", {}, {"points": np.zeros((3, 3), np.float32)}, r"point_kind has the shape \(5600,\), .* N"),
        ("gnarf_deform", {}, {"points": np.full((5600, 3), np.nan)}, "points has not only finite"),
        ("gnarf_deform", {}, {"face": np.full(5600, 9999, np.int16)}, "face has numbers .* below F, which is 1226"),
        ("gnarf_deform", {}, {"face": np.zeros(5600)}, "face has the type float64, expected whole numbers"),
        ("gnarf_deform", {"source_pose": 4}, {}, "source_pose of the case is 4, expected a whole number"),
        ("gnarf_deform", {"scale": None}, {}, "scale of the case is None"),
        ("gnarf_deform", {"point_kind": ["far"]}, {}, r"point_kind is \['far'\], expected some of"),
        ("gnarf_render", {}, {"weights": None}, r"lacks the arrays \['weights'\]"),
        ("gnarf_render", {}, {"features": np.zeros((2, 32, 8, 8), np.float32)}, "features has the shape"),
        ("gnarf_render", {"resolution": 10**6}, {}, "resolution of the case is 1000000"),
        ("gnarf_render", {"uniforms_seed": "3"}, {}, "uniforms_seed of the case is '3'"),
        ("gnarf_render", {"rendering_kwargs/projector": "mvc"}, {}, "projector of rendering_kwargs is 'mvc'"),
        ("gnarf_render", {"rendering_kwargs": []}, {}, r"rendering_kwargs are \[\], expected an object"),
        ("gnarf_render", {"rules/planes": "8 + a"}, {}, r"the rule of planes is '8 \+ a', expected the form"),
        ("gnarf_render", {"parameters/planes": [1, 3, 32, 64, 64]}, {}, r"planes of parameters are .*expected \[2, 3"),
        ("gnarf_render", {"parameters/planes": [2, 3, 2**20, 2**20, 64]}, {}, "parameters are not at most"),
        ("gnarf_render", {"parameters/decoder.net.2.bias": [7]}, {}, "decoder.net.2.bias"),
    ],
)
def test_damaged_cases_are_refused_by_name(damaged, name, options, arrays, words):
    path = damaged(name, options, **arrays)
    with pytest.raises(ValueError, match=f"^{path.with_suffix('')}[^ ]*(.|\n)*{words}"):
        verify.verify(path)


def test_recordings_of_bodies_are_not_of_a_checkpoint():
    model = types.SimpleNamespace(generator=types.SimpleNamespace(config=GeneratorConfig()))
    with pytest.raises(ValueError, match=r"gnarf_render.json: .* weights of its own: give no checkpoint"):
        verify.verify(GOLDEN / "gnarf_render.json", model)


def test_lines_and_their_table():
    output, reference = np.float32([1, 2, 3, np.nan]), np.float32([1, 2, 4, 0])
    apart = comparison.off(output, reference)
    assert apart.tolist() == [0, 0, 1, np.inf] and (comparison.off(output[:1], reference) == np.inf).all()
    lines = [
        comparison.largest("some", apart, 1e-3, percent=50),
        comparison.largest("all", apart, 1e-3, note="a word"),
        comparison.largest("none", apart[:0], 1e-3),
        comparison.share("apart", apart > 0, 0.5),
    ]
    assert [line.error for line in lines] == [0, np.inf, 0, 0.5] and failed(lines) == ["all"]
    rows = comparison.table(lines).splitlines()
    assert rows[2].split() == ["all", "inf", "largest", "1e-03", "FAIL"] and rows[-1] == "all: a word"
    assert rows[1].split() == ["some", "0.00e+00", "50%", "1e-03", "ok"]
