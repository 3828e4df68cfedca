"""Recorded EG3D outputs against ours, and that the comparison notices what it should."""

import dataclasses
import functools
import json
import math
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny

from converters import eg3d, golden, verify
from dnerf_jax.models.generator import Generator, GeneratorConfig
from dnerf_jax.models.model import Model
from dnerf_jax.networks.superresolution import PRESETS

GOLDEN = Path(__file__).parent.parent / "golden"


def _stages(lines):
    return {line.stage: line for line in lines}


@pytest.fixture(scope="module")
def cars():
    """The ShapeNet case: its model, configuration and arrays."""
    case, arrays = golden.load_case(GOLDEN / "cars_small.json")
    model = verify.sampled_as(eg3d.convert(golden.record_from(case)), case)
    return model, case, arrays


def _changed(model, path, factor):
    """The model with one tensor scaled."""
    variables = jax.tree_util.tree_map_with_path(
        lambda keys, x: x * factor if "/".join(k.key for k in keys) == path else x, model.generator.variables
    )
    return model.replace(generator=model.generator.replace(variables=variables))


@pytest.mark.slow
@pytest.mark.parametrize("name, stages", [("cars_small", 20), ("ffhq_small", 22), ("afhq_full", 6)])
def test_recorded_cases_are_within_tolerance(name, stages, monkeypatch):
    # Of these sizes running takes as long as compiling; at level 3, as users have it, both together take a fifth more.
    options = {"xla_backend_optimization_level": 1}
    monkeypatch.setattr(jax, "jit", functools.partial(jax.jit, compiler_options=options))
    lines = verify.verify(GOLDEN / f"{name}.json")
    assert len(lines) == stages
    assert {line.tolerance for line in lines} == {1e-4, 1e-3}
    assert all(line.ok for line in lines), verify.table(lines)


@pytest.mark.slow
@pytest.mark.parametrize(
    "path, first",
    [
        ("buffers/mapping/w_avg", "ws"),
        ("params/mapping/fc1/weight", "ws_full"),  # the recorded w is small beside w_avg
        ("params/synthesis/b8/conv0/weight", "x8"),
        ("params/synthesis/b16/conv1/noise_strength", "x16"),
        ("params/synthesis/b256/torgb/bias", "planes_crop"),
        ("params/decoder/fc1/weight", "points_rgb"),
        ("params/superresolution/block1/torgb/weight", "image_crop"),
    ],
)
def test_a_changed_tensor_shows_at_its_stage(cars, path, first):
    model, case, arrays = cars
    # Demodulation hides a common factor of a convolution's weights, so only half of them are scaled.
    factor = np.where(np.arange(2) < 1, 1.01, 1.0) if path.endswith("conv0/weight") else 1.01
    if not np.isscalar(factor):
        weight = model.generator.variables["params"]["synthesis"]["b8"]["conv0"]["weight"]
        factor = np.repeat(factor, weight.shape[2] // 2)[:, None]

    lines = verify.compare(verify.run(_changed(model, path, factor), case, arrays), arrays)

    assert next(line.stage for line in lines if not line.ok) == first


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes, first",
    [
        ({"plane_axes": (((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),) * 3}, "points_rgb"),
        ({"rendering": {"ray_start": 0.11}}, "image_raw"),
    ],
)
def test_a_changed_configuration_shows_at_its_stage(cars, changes, first):
    model, case, arrays = cars
    config = model.generator.config
    if "rendering" in changes:
        changes = {"rendering": dataclasses.replace(config.rendering, **changes["rendering"])}
    changed = model.replace(generator=model.generator.replace(config=dataclasses.replace(config, **changes)))

    lines = verify.compare(verify.run(changed, case, arrays), arrays)

    assert next(line.stage for line in lines if not line.ok) == first


def test_redrawn_uniforms_are_the_recorded_ones(cars):
    _, _, arrays = cars
    batch, rays, coarse, _ = arrays["u_coarse"].shape
    drawn = golden.redraw_uniforms(batch, rays, coarse, arrays["u_fine"].shape[-1])
    np.testing.assert_array_equal(drawn[0], arrays["u_coarse"])
    np.testing.assert_array_equal(drawn[1], arrays["u_fine"])


def test_relative_error():
    reference = np.array([3.0, 4.0], np.float32)
    assert verify.relative_error(np.array([3.0, 4.5], np.float32), reference) == pytest.approx(0.1)
    assert verify.relative_error(reference[:1], reference) == math.inf
    assert verify.relative_error(np.array([3.0, np.nan], np.float32), reference) == math.inf


def _small_case(folder, arrays, **changes):
    case = json.loads((GOLDEN / "cars_small.json").read_text()) | changes
    (folder / "case.json").write_text(json.dumps(case))
    np.savez(folder / "case.npz", **arrays)
    return str(folder / "case.json")


@pytest.mark.slow
def test_the_command_fails_beyond_tolerance(cars, tmp_path, capsys):
    arrays = dict(cars[2])
    good = _small_case(tmp_path, arrays)
    assert verify.main(good) == 0
    assert "all stages are within tolerance" in capsys.readouterr().out

    arrays["points_sigma"] = arrays["points_sigma"] * np.float32(1.0002)
    bad = _small_case(tmp_path, arrays)
    assert verify.main(bad) == 1
    table = capsys.readouterr().out
    assert [line.split()[0] for line in table.splitlines() if line.endswith("FAIL")] == ["points_sigma"]
    assert [line.split()[1] for line in table.splitlines() if line.endswith("FAIL")] == ["2.00e-04"]


@pytest.mark.parametrize(
    "name, words",
    [("absent.json", "is not a file"), ("text.json", "it is no JSON"), ("part.json", "it has no parameters")],
)
def test_the_command_says_what_is_wrong_with_a_case(tmp_path, name, words):
    for stem, text in {"text": "{", "part": '{"kind": "ffhq"}'}.items():
        (tmp_path / f"{stem}.json").write_text(text)
        np.savez(tmp_path / f"{stem}.npz")
    with pytest.raises(ValueError, match=words):
        verify.main(str(tmp_path / name))


@pytest.mark.parametrize(
    "place, value",
    [
        *(
            (name, odd)
            for name in ("parameters", "init_kwargs", "rendering_kwargs")
            for odd in (None, [], 3, {"x": "y"})
        ),
        *((("init_kwargs", "z_dim"), odd) for odd in (None, "512", -1, 2**60, True)),
        *((("parameters", "decoder.net.0.weight"), odd) for odd in (None, [2**40, 2**40], [-1], ["a"], [[]], [1])),
        *((("rendering_kwargs", "superresolution_module"), odd) for odd in (None, 3, "other.Module")),
        *((("rendering_kwargs", "depth_resolution"), odd) for odd in (None, 10**9)),
        *(("plane_axes", odd) for odd in (None, {}, "abc", [[[1]]], [[["a"] * 3] * 3] * 3)),
        *(("neural_rendering_resolution", odd) for odd in (None, 10**6, "16")),
        *(("truncation_psi", odd) for odd in (None, "0.7")),
        *(("truncation_cutoff", odd) for odd in ("14", [], -1)),
        *(("noise_mode", odd) for odd in (None, "random", ["const"])),
    ],
)
def test_damaged_cases_are_refused_by_name(tmp_path, place, value):
    case = _tiny_case()
    table, key = (case, place) if isinstance(place, str) else (case[place[0]], place[1])
    table[key] = value
    (tmp_path / "case.json").write_text(json.dumps(case))
    np.savez(tmp_path / "case.npz", **_tiny_inputs())
    with pytest.raises(ValueError, match=f"^{tmp_path / 'case.json'}"):
        verify.verify(tmp_path / "case.json")


@pytest.mark.parametrize("name, shape", [("z", (1, 5)), ("c", (2, 25)), ("ws", (1, 4, 7)), ("u_fine", (3,)), ("z", ())])
def test_inputs_of_other_shapes_are_refused_by_name(tmp_path, name, shape):
    (tmp_path / "case.json").write_text(json.dumps(_tiny_case()))
    np.savez(tmp_path / "case.npz", **_tiny_inputs() | {name: np.zeros(shape, np.float32)})
    with pytest.raises(
        ValueError, match=f"^{tmp_path / 'case.json'}: its inputs do not fit its network(.|\n)*array {name}"
    ):
        verify.verify(tmp_path / "case.json")
    whole = (tmp_path / "case.npz").read_bytes()
    (tmp_path / "case.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=f"{tmp_path / 'case.npz'}"):
        verify.verify(tmp_path / "case.json")


def _tiny_case():
    """The tiny network with the super-resolution's sizes that recorded cases have."""
    case = json.loads(json.dumps(tiny.case()))
    for name in case["parameters"]:
        if name.startswith("superresolution.") and name.endswith("noise_const"):
            case["parameters"][name] = [64, 64] if "block0" in name else [128, 128]
    case["init_kwargs"]["img_resolution"] = 128
    return case | {"truncation_psi": 0.7, "truncation_cutoff": None, "noise_mode": "const"}


def test_the_tiny_case_is_sound():
    """So that what is changed in it below is what it is refused for."""
    assert eg3d.convert(golden.record_from(_tiny_case())).generator.config.image_resolution == 128


def _tiny_inputs():
    shapes = {"z": (1, 4), "c": (1, 25), "c_cond": (1, 25), "ws": (1, 4, 6)}
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


def test_a_checkpoint_of_another_network_is_told_so():
    with pytest.raises(ValueError, match=r"another network than the recorded: z_dim 4 .recorded 512.; give") as error:
        verify.verify(GOLDEN / "cars_small.json", _model(z_dim=4))
    assert str(GOLDEN / "cars_small.json") in str(error.value)


def _model(**sizes):
    config = GeneratorConfig(superresolution=PRESETS["SuperresolutionHybrid2X"], **sizes)
    return Model(generator=Generator(config, {}))


@pytest.mark.slow
def test_the_command_line_refuses_with_status_2(tmp_path):
    def run(*arguments):
        command = [sys.executable, "-m", "converters.verify", *arguments]
        return subprocess.run(command, cwd=GOLDEN.parents[1], capture_output=True, text=True)

    done = run()
    assert done.returncode == 2 and done.stderr.startswith("error: CASES is missing: NAME.json of recorded cases")
    done = run(str(tmp_path / "absent.json"))
    assert done.returncode == 2 and done.stderr.startswith(f"error: {tmp_path}/absent.json is not a file")
