"""Conversion of EG3D networks: everything travels, and what does not fit is refused with all of it listed."""

from pathlib import Path

import foreign
import jax
import numpy as np
import pytest
import tiny

from converters import eg3d, golden, layout
from converters.pickles import Record
from dnerf_jax.io import checkpoints
from dnerf_jax.networks.superresolution import PRESETS
from dnerf_jax.ops import cameras


def test_configuration_and_tensors_travel(tmp_path):
    network = eg3d.read_network(tiny.write(tmp_path / "network.pkl"))
    model = eg3d.convert(network)

    assert model.generator.config == tiny.CONFIG
    params, buffers = model.generator.variables["params"], model.generator.variables["buffers"]

    def redraw(name, *shape):
        return golden.redraw(name, shape)

    np.testing.assert_array_equal(
        params["synthesis"]["b8"]["conv0"]["weight"],
        redraw("backbone.synthesis.b8.conv0.weight", 5, 8, 3, 3).transpose(2, 3, 1, 0),
    )
    np.testing.assert_array_equal(
        params["synthesis"]["b4"]["const"], redraw("backbone.synthesis.b4.const", 8, 4, 4).transpose(1, 2, 0)
    )
    np.testing.assert_array_equal(params["mapping"]["fc0"]["weight"], redraw("backbone.mapping.fc0.weight", 6, 10).T)
    np.testing.assert_array_equal(params["decoder"]["fc1"]["weight"], redraw("decoder.net.2.weight", 6, 7).T)
    np.testing.assert_array_equal(
        params["superresolution"]["block1"]["torgb"]["affine"]["bias"],
        redraw("superresolution.block1.torgb.affine.bias", 3),
    )
    np.testing.assert_array_equal(buffers["mapping"]["w_avg"], redraw("backbone.mapping.w_avg", 6))
    np.testing.assert_array_equal(
        buffers["synthesis"]["b8"]["conv1"]["noise_const"],
        redraw("backbone.synthesis.b8.conv1.noise_const", 8, 8),
    )


def test_half_precision_becomes_float32():
    network = tiny.record()
    decoder = network.child("decoder.net.0").attributes["_parameters"]
    decoder["weight"] = decoder["weight"].astype(np.float16)

    weight = eg3d.convert(network).generator.variables["params"]["decoder"]["fc0"]["weight"]

    assert weight.dtype == np.float32
    np.testing.assert_array_equal(weight, decoder["weight"].T)


@pytest.mark.parametrize(
    "option, field, value",
    [
        ("white_back", "white_back", False),
        ("disparity_space_sampling", "disparity_space_sampling", True),
        ("box_warp", "box_warp", 2.0),
        ("depth_resolution_importance", "depth_resolution_importance", 0),
        ("avg_camera_pivot", "avg_camera_pivot", (1.0, 2.0, 3.0)),
    ],
)
def test_rendering_options_travel(option, field, value):
    network = tiny.record()
    network.get("rendering_kwargs")[option] = value
    assert getattr(eg3d.config_from(network).rendering, field) == value


def test_other_attributes_travel():
    network = tiny.record()
    network.attributes["neural_rendering_resolution"] = 48
    options = network.get("rendering_kwargs")
    options |= {"ray_start": "auto", "ray_end": "auto", "c_gen_conditioning_zero": True}
    options["superresolution_noise_mode"] = "const"
    del options["c_scale"]
    network.child("superresolution").attributes["sr_antialias"] = False
    for _, layer in network.child("backbone").walk():
        if "conv_clamp" in layer.attributes:
            layer.attributes["conv_clamp"] = 128

    config = eg3d.config_from(network)

    assert config.neural_rendering_resolution == 48
    assert (config.rendering.ray_start, config.rendering.ray_end) == ("auto", "auto")
    assert config.c_gen_conditioning_zero and config.c_scale == 0
    assert config.conv_clamp == 128 and config.superresolution.clamp == 256
    assert config.superresolution.noise_mode == "const" and not config.superresolution.antialias


@pytest.mark.parametrize("name", PRESETS)
def test_superresolution_goes_by_its_class(name):
    network, preset = tiny.record(), PRESETS[name]
    superresolution = network.child("superresolution")
    superresolution.class_name = name
    superresolution.attributes |= {
        "input_resolution": preset.input_resolution,
        "sr_antialias": preset.antialias,
    }
    if name == "SuperresolutionHybridDeepfp32":
        del superresolution.attributes["sr_antialias"]  # as in the files of that class
    for block, width in zip(("block0", "block1"), preset.widths, strict=True):
        superresolution.child(f"{block}.conv1").attributes["out_channels"] = width
    network.attributes["img_resolution"] = {"8": 512, "4": 256, "D": 256, "2": 128}[name[21]]

    assert eg3d.config_from(network).superresolution == preset


def test_all_misfitting_tensors_are_listed():
    network = tiny.record()
    decoder = network.child("decoder.net.0").attributes["_parameters"]
    mapping = network.child("backbone.mapping.fc1").attributes["_parameters"]
    block = network.child("backbone.synthesis.b8")
    del decoder["bias"]
    del network.child("backbone.mapping").attributes["_buffers"]["w_avg"]
    decoder["gain"] = np.ones(3, np.float32)
    mapping["weight"] = mapping["weight"][:-1]
    mapping["bias"] = mapping["bias"] * np.float32(np.nan)
    block.child("torgb").attributes["_parameters"]["bias"] = np.zeros(12, np.int64)
    block.attributes["_buffers"]["resample_filter"] = np.full((4, 4), 1 / 16, np.float32)

    with pytest.raises(ValueError) as error:
        eg3d.convert(network)

    for line in (
        "missing: decoder.net.0.bias [7]",
        "missing: backbone.mapping.w_avg [6]",
        "unexpected: decoder.net.0.gain [3]",
        "wrong shape: backbone.mapping.fc1.weight [5, 6], expected [6, 6]",
        "not finite: backbone.mapping.fc1.bias",
        "wrong type: backbone.synthesis.b8.torgb.bias int64",
        "another filter: backbone.synthesis.b8.resample_filter",
    ):
        assert line in str(error.value)
    assert "7 tensors do not fit" in str(error.value)


def test_all_misfitting_attributes_are_listed():
    network = tiny.record()
    network.attributes["neural_rendering_resolution"] = None
    network.child("renderer").attributes["plane_axes"] = np.zeros((3, 3, 3), np.float32)
    network.child("backbone.synthesis.b8").attributes["architecture"] = "resnet"
    network.child("backbone.synthesis.b8.conv0").attributes["conv_clamp"] = 64
    network.child("backbone.mapping.fc0").attributes["bias_gain"] = 1
    options = network.get("rendering_kwargs")
    del options["ray_end"]
    options["clamp_mode"] = "relu"

    with pytest.raises(ValueError) as error:
        eg3d.config_from(network)

    for line in (
        "neural_rendering_resolution of the network is None",
        "plane_axes are",
        "architecture of backbone.synthesis.b8 is 'resnet', expected 'skip'",
        "the layers of backbone.synthesis have the clamps ['64.0', 'None']",
        "bias_gain of backbone.mapping.fc0 is 1, expected 0.01",
        "ray_end of rendering_kwargs is None, expected a number",
        "clamp_mode of rendering_kwargs is 'relu', expected 'softplus'",
    ):
        assert line in str(error.value)


@pytest.mark.parametrize(
    "limits, words",
    [
        ({"ray_start": 5.0}, "ray_start of rendering_kwargs is 5.0, and ray_end 2.5"),
        ({"ray_start": 2.25, "ray_end": None}, "ray_end of rendering_kwargs is None, expected a number"),
    ],
)
def test_ray_limits_that_do_not_fit_are_a_problem_among_others(limits, words):
    network = tiny.record()
    network.get("rendering_kwargs").update(limits, white_back=3)
    with pytest.raises(ValueError, match=rf"(?s)can be converted.*{words}.*white_back of rendering_kwargs is 3"):
        eg3d.config_from(network)


def test_an_unknown_superresolution_is_refused():
    network = tiny.record()
    network.child("superresolution").class_name = "SuperresolutionHybrid16X"
    with pytest.raises(ValueError, match="'SuperresolutionHybrid16X', expected 'SuperresolutionHybrid8XDC' or"):
        eg3d.config_from(network)


def test_missing_modules_are_refused():
    network = tiny.record()
    del network.attributes["_modules"]["renderer"], network.attributes["_modules"]["decoder"]
    with pytest.raises(ValueError, match=r"no module renderer(.|\n)*no module decoder.net.2"):
        eg3d.config_from(network)


def _others(path: Path) -> dict[str, bytes]:
    """Files that hold something else than an EG3D generator, by the words that should say so."""
    state = {name: foreign.tensor(array) for name, array in tiny.record().state_dict().items()}
    stylegan = foreign.network(tiny.record().child("backbone"))
    weight = np.zeros(3, np.float32)
    reference = foreign.Call(
        foreign.Name("torch._utils", "_rebuild_tensor_v2"),
        (foreign.stored(weight), 0, (3,), (1,), False, None),
    )
    return {
        "a plain StyleGAN generator": foreign.dumps({"G_ema": stylegan}),
        "a bare state dict": foreign.dumps(state),
        "'G_ema': the network is a bare state dict": foreign.dumps({"G_ema": state}),
        "is a bare state dict": foreign.legacy({"fc.weight": reference}, {"0": weight}),
        "network is a bare state dict": foreign.zipped({"fc.weight": reference}, {"0": weight}),
        "of the class 'DualDiscriminator'": foreign.dumps(
            {"G_ema": foreign.network(Record("DualDiscriminator", {"_modules": {}}))}
        ),
        "no network G_ema; it has 'G', 'D'": foreign.dumps({"G": None, "D": None}),
        r"network is \[1, 2\]": foreign.dumps([1, 2]),
    }


@pytest.mark.parametrize("words", _others(Path("x")))
def test_other_files_are_refused(tmp_path, words):
    path = tmp_path / "other.pkl"
    path.write_bytes(_others(path)[words])
    with pytest.raises(ValueError, match=words) as error:
        eg3d.read_network(path)
    assert "expected" in str(error.value) or "--network" in str(error.value)


def test_the_command_writes_a_checkpoint_that_loads(tmp_path, capsys):
    path = tiny.write(tmp_path / "network.pkl")
    out = tmp_path / "checkpoint"

    eg3d.main(str(path), out=str(out), fov=20.0)

    model, expected = checkpoints.load(out), eg3d.convert(tiny.record())
    assert model.generator.config == eg3d.read_model(path, fov=20.0).generator.config
    for name in ("params", "buffers"):
        for key, array in _flat(expected.generator.variables[name]).items():
            np.testing.assert_array_equal(_flat(model.generator.variables[name])[key], array, err_msg=key)
    info = dict(model.info)
    assert info["origin"] == "network.pkl" and len(info["origin_sha256"]) == 64 and info["network"] == "G_ema"
    assert info["license"].startswith("unknown; check the origin")
    assert info["license"] in capsys.readouterr().out


def test_the_licence_is_that_of_the_origin_or_as_told(tmp_path, capsys):
    published = tiny.write(tmp_path / "ffhq512-128.pkl")
    assert eg3d.provenance(published, "G_ema")["license"] == eg3d.NVIDIA_LICENSE
    assert "non-commercial" in eg3d.NVIDIA_LICENSE

    out = str(tmp_path / "checkpoint")
    eg3d.main(str(published), out=out, license="CC0, by the author")
    assert "CC0, by the author" in capsys.readouterr().out
    assert dict(checkpoints.load(out).info)["license"] == "CC0, by the author"


def test_the_command_can_take_the_other_network(tmp_path):
    other = tiny.record()
    other.attributes["neural_rendering_resolution"] = 12
    path = tiny.write(tmp_path / "network.pkl", G=foreign.network(other))
    out = str(tmp_path / "checkpoint")
    eg3d.main(str(path), out=out, network="G", fov=20.0)
    assert checkpoints.load(out).generator.config.neural_rendering_resolution == 12


@pytest.mark.parametrize("by_name", [False, True])
def test_a_network_that_was_saved_as_a_whole_is_the_same(tmp_path, by_name):
    path = tmp_path / "network.pt"
    path.write_bytes(foreign.saved(tiny.record(), **({"by_name": foreign.CLASSES} if by_name else {})))
    model, expected = eg3d.read_model(path, fov=20), eg3d.convert(tiny.record())
    for ours, theirs in zip(
        *map(jax.tree.leaves, (model.generator.variables, expected.generator.variables)), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert dict(model.info)["network"] == "the whole file"

    path.write_bytes(foreign.dumps(foreign.network(tiny.record())))
    assert eg3d.read_network(path).class_name == "TriPlaneGenerator"
    path.write_bytes(foreign.dumps({"generator": foreign.network(tiny.record())}))
    assert dict(eg3d.read_model(path, fov=20).info)["network"] == "generator"


@pytest.mark.parametrize("name, focal", eg3d.PUBLISHED.items())
def test_published_files_know_their_cameras(tmp_path, name, focal, recwarn):
    assert focal == (1.025390625 if "cars" in name else 4.2647)
    path = tiny.write(tmp_path / name)
    model = eg3d.read_model(path)
    assert model.generator.config.rendering.avg_camera_focal == focal
    assert f"radius 1.7 about the origin, looks at (0.0, 0.25, 0.5), focal length {focal:.6g}" in eg3d.summary(model)
    assert not recwarn.list


def test_the_cameras_of_other_files_are_asked_for(tmp_path):
    path, out = tiny.write(tmp_path / "network.pkl"), str(tmp_path / "checkpoint")
    with pytest.warns(UserWarning, match="are not known.*4.2647 image sizes; give their field of view by --fov"):
        assert eg3d.read_model(path).generator.config.rendering.avg_camera_focal == 4.2647
    eg3d.main(str(path), out=out, fov=50.0)
    expected = cameras.focal_from_fov(50.0)
    assert checkpoints.load(out).generator.config.rendering.avg_camera_focal == pytest.approx(expected, abs=1e-12)
    for fov in (0.0, 180.0, float("nan")):
        with pytest.raises(ValueError, match=f"^fov is {fov} degrees, expected above 0 and below 180"):
            eg3d.read_model(path, fov=fov)


def test_every_error_names_the_file(tmp_path):
    misfit = tiny.record()
    misfit.get("rendering_kwargs")["box_warp"] = None
    paths = [tiny.write(tmp_path / "attribute.pkl", misfit), tmp_path / "absent.pkl"]
    misfit = tiny.record()
    misfit.child("decoder.net.0").attributes["_parameters"]["bias"] = np.zeros(3, np.float32)
    paths.append(tiny.write(tmp_path / "tensor.pkl", misfit))
    for path in paths:
        with pytest.raises(ValueError, match=f"^{path}"):
            eg3d.main(str(path), out=str(tmp_path / "out"))


def test_the_command_writes_nothing_when_it_refuses(tmp_path):
    target, out = tmp_path / "created", tmp_path / "checkpoint"
    whole = tiny.write(tmp_path / "whole.pkl").read_bytes()
    misfit = tiny.record()
    del misfit.child("decoder.net.0").attributes["_parameters"]["bias"]
    attack = foreign.Call(foreign.Name("os", "system"), (f"touch {target}",))
    tiny.write(tmp_path / "misfit.pkl", misfit)
    tiny.write(tmp_path / "attack.pkl", D=attack)
    (tmp_path / "truncated.pkl").write_bytes(whole[: len(whole) // 2])
    before = sorted(tmp_path.iterdir())

    for name, words in {
        "misfit": "missing: decoder.net.0.bias",
        "attack": "os.system",
        "truncated": "truncated",
        "absent": "is not a file",
    }.items():
        with pytest.raises(ValueError, match=words):
            eg3d.main(str(tmp_path / f"{name}.pkl"), out=str(out))
        assert sorted(tmp_path.iterdir()) == before


def test_the_command_overwrites_nothing(tmp_path):
    path, out = tiny.write(tmp_path / "network.pkl"), tmp_path / "checkpoint"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="not empty"):
        eg3d.main(str(path), out=str(out))
    assert [file.name for file in out.iterdir()] == ["notes.txt"]


def test_names_and_shapes_go_both_ways():
    parameters = tiny.case()["parameters"]
    assert parameters["backbone.synthesis.b8.conv0.weight"] == (5, 8, 3, 3)
    assert parameters["decoder.net.2.weight"] == (6, 7)
    assert parameters["backbone.synthesis.b4.const"] == (8, 4, 4)
    for name, shape in parameters.items():
        assert layout.torch_shape(name, layout.to_flax(name, np.zeros(shape, np.float32)).shape) == shape


def _flat(tree, prefix=""):
    if not isinstance(tree, dict):
        return {prefix: np.asarray(tree)}
    return {k: v for name, branch in tree.items() for k, v in _flat(branch, f"{prefix}/{name}").items()}
