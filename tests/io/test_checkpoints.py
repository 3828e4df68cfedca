"""Checkpoints: what is saved is what is loaded, and every way to be broken is named."""

import dataclasses
import gc
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dnerf_jax.io import checkpoints, files

# Orbax leaves reads behind when it cannot restore an array: see `collect`.
pytestmark = pytest.mark.filterwarnings(
    "ignore:coroutine", "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)


@pytest.fixture(scope="module", autouse=True)
def collect():
    """Collects what Orbax left while its warnings are ignored, not at some later test."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def saved(tiny_semantic_model, tmp_path_factory):
    """The folder of a checkpoint with everything in it; tests copy it before they damage it."""
    folder = tmp_path_factory.mktemp("checkpoint") / "model"
    checkpoints.save(folder, tiny_semantic_model)
    return folder


@pytest.fixture
def copy(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "copy")


def edit(folder, change):
    """Changes config.json with a function of its contents, and its fingerprint with it."""
    file = folder / "config.json"
    description = json.loads(file.read_text())
    change(description)
    if isinstance(description.get("fingerprints"), dict):
        description["fingerprints"]["config"] = checkpoints.config_fingerprint(description)
    file.write_text(json.dumps(description))


def assert_trees_equal(tree, other):
    assert jax.tree.structure(tree) == jax.tree.structure(other)
    jax.tree.map(np.testing.assert_array_equal, tree, other)


@pytest.mark.slow
def test_all_of_a_model_travels_exactly(saved, tiny_semantic_model):
    model = checkpoints.load(saved)
    assert_trees_equal(model.generator.variables, tiny_semantic_model.generator.variables)
    assert_trees_equal(model.semantic.params, tiny_semantic_model.semantic.params)
    assert model.generator.config == tiny_semantic_model.generator.config
    assert model.semantic.config == tiny_semantic_model.semantic.config
    for name in ("label_map", "info"):
        assert getattr(model, name) == getattr(tiny_semantic_model, name)
    assert model.fingerprint == tiny_semantic_model.fingerprint
    assert {leaf.dtype for leaf in jax.tree.leaves(model)} == {jnp.dtype("float32")}
    hash(model.generator.config)  # static under jit


def test_unusual_configurations_travel(tiny_model, tmp_path):
    """None, "auto", tuples within tuples and booleans are what JSON could change."""
    usual = tiny_model.generator.config
    rendering = dataclasses.replace(
        usual.rendering, ray_start="auto", ray_end="auto", white_back=True, avg_camera_pivot=(0.0, 0.1, 0.2)
    )
    superresolution = dataclasses.replace(usual.superresolution, clamp=None, resize_larger=False, antialias=False)
    axes = tuple(tuple(tuple(-value for value in row) for row in plane) for plane in usual.plane_axes)
    config = dataclasses.replace(
        usual,
        conv_clamp=None,
        rendering=rendering,
        superresolution=superresolution,
        plane_axes=axes,
        c_gen_conditioning_zero=True,
    )
    checkpoints.save(tmp_path / "model", tiny_model.replace(generator=tiny_model.generator.replace(config=config)))
    model = checkpoints.load(tmp_path / "model")
    assert model.generator.config == config and hash(model.generator.config) == hash(config)
    assert model.semantic is None and model.label_map is None


def test_a_loaded_model_is_the_same_to_jit(saved, tiny_semantic_model):
    """Equal structure, static fields included: what was compiled for the one serves the other."""
    traces = []
    count = jax.jit(lambda model: traces.append(model) or model.generator.variables["buffers"]["mapping"]["w_avg"])
    np.testing.assert_array_equal(count(tiny_semantic_model), count(checkpoints.load(saved)))
    assert len(traces) == 1


def test_half_precision_rounds_and_says_so(tiny_model, tmp_path):
    checkpoints.save(tmp_path / "half", tiny_model, dtype="float16")
    model = checkpoints.load(tmp_path / "half")
    rounded = jax.tree.map(lambda x: np.asarray(x, np.float16).astype(np.float32), tiny_model.generator.variables)
    assert_trees_equal(jax.tree.map(np.asarray, model.generator.variables), rounded)
    assert {leaf.dtype for leaf in jax.tree.leaves(model)} == {jnp.dtype("float32")}
    same = tiny_model.replace(generator=tiny_model.generator.replace(variables=rounded))
    assert model.fingerprint == same.fingerprint != tiny_model.fingerprint
    checkpoints.save(tmp_path / "again", model, dtype="float16")
    assert checkpoints.load(tmp_path / "again").fingerprint == model.fingerprint


def test_fingerprint_sees_every_number_name_and_shape():
    tree = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": {"c": np.zeros(4, np.float32)}}
    same = {"b": {"c": jnp.zeros(4)}, "a": jnp.arange(6.0).reshape(2, 3)}
    known = checkpoints.fingerprint(tree)
    assert known == checkpoints.fingerprint(same)
    assert len(known) == 16 and int(known, 16) >= 0
    nudged = tree["a"].copy()
    nudged[1, 2] = np.nextafter(np.float32(5), np.float32(6))
    others = [
        {**tree, "a": nudged},
        {**tree, "a": tree["a"].reshape(3, 2)},
        {"a": tree["a"], "b": {"d": np.zeros(4)}},
        {"a": tree["a"]},
    ]
    assert len({known} | {checkpoints.fingerprint(other) for other in others}) == 5


def test_fingerprint_is_the_generators(tiny_model, tiny_semantic_model):
    """A pack belongs to latents, so a branch trained on it must not change whose they are."""
    assert tiny_model.fingerprint == tiny_semantic_model.fingerprint


def test_nothing_is_overwritten_unless_asked(saved, copy, tiny_model, tiny_semantic_model):
    with pytest.raises(ValueError, match="exists and is not empty"):
        checkpoints.save(copy, tiny_model)
    assert checkpoints.load(copy).semantic is not None
    checkpoints.save(copy, tiny_model, replace=True)
    assert checkpoints.load(copy).semantic is None
    assert not (copy / "semantic").exists()


@pytest.mark.parametrize("existing", [False, True])
def test_a_failed_save_leaves_nothing_behind(existing, copy, tmp_path, tiny_model, monkeypatch):
    def fail(*arguments, **options):
        raise OSError("no space left on device")

    folder = copy if existing else tmp_path / "new"
    before = {path.name for path in tmp_path.iterdir()}
    monkeypatch.setattr(files, "write_json", fail)  # after the arrays are written
    with pytest.raises(OSError, match="no space"):
        checkpoints.save(folder, tiny_model, replace=True)
    monkeypatch.undo()
    assert {path.name for path in tmp_path.iterdir()} == before
    if existing:
        assert checkpoints.load(folder).semantic is not None


@pytest.mark.filterwarnings("ignore:overflow")
def test_numbers_that_are_not_finite_are_not_saved(tiny_model, tmp_path):
    broken = jax.tree.map(lambda x: x, tiny_model.generator.variables)
    broken["params"]["decoder"]["fc1"]["bias"] = jnp.full(9, 1e5)  # overflows in half precision
    with pytest.raises(ValueError, match="generator arrays are not all finite as float16; save them as float32"):
        model = tiny_model.replace(generator=tiny_model.generator.replace(variables=broken))
        checkpoints.save(tmp_path / "model", model, dtype="float16")
    assert not list(tmp_path.iterdir())


def test_what_is_not_there_is_named(tmp_path):
    for name in ("nowhere", "x" * 300, "a\0b"):
        with pytest.raises(ValueError, match="There is no checkpoint .*embedded are"):
            checkpoints.load(name)
    with pytest.raises(ValueError, match="config.json"):
        checkpoints.load(tmp_path)


def set_in(*path, to):
    """A change: what lies at `path` of a description becomes `to`."""

    def change(description):
        for name in path[:-1]:
            description = description[name]
        description[path[-1]] = to

    return change


AXES = [[[1, 0, 0], [0, 1, 0], [0, 0, 1]]] * 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("schema_version"), "schema version None; this dnerf_jax reads 1 to 2"),
        (set_in("schema_version", to=3), "schema version 3; .*Upgrade"),
        (set_in("schema_version", to=True), "schema version True"),
        (set_in("schema_version", to="new"), "schema version 'new'"),
        (lambda d: d.pop("fingerprints"), "lacks.*fingerprints"),
        (lambda d: d.pop("semantic"), "lacks.*semantic"),
        (set_in("generator", to=[]), "lacks.*generator.*another kind"),
        (set_in("semantic", to=5), "lacks.*semantic.*another kind"),
        (set_in("label_map", to="faces"), "lacks.*label_map.*another kind"),
        (set_in("info", to=["licence"]), "lacks.*info.*another kind"),
        (set_in("info", "license", to={"a": [1]}), "info is .* expected strings"),
        (set_in("fingerprints", to=None), "lacks.*fingerprints.*another kind"),
        (set_in("generator", "plane_size", to=3), "generator has no field 'plane_size'"),
        (set_in("generator", "w_dim", to="many"), "w_dim must be int.*not 'many'"),
        (set_in("generator", "w_dim", to=17), "generator cannot be restored.*not those of its config.json"),
        (
            set_in("generator", "w_dim", to=10**6),
            "generator cannot be restored.*bytes are expected, and the files have",
        ),
        (set_in("generator", "mapping_layers", to=3), "generator cannot be restored"),
        (
            set_in("generator", "mapping_layers", to=10**6),
            "mapping_layers is 1000000, expected at least 1 and at most 64",
        ),
        (set_in("generator", "plane_resolution", to=3), "plane_resolution is 3, expected a power of two"),
        (lambda d: d["generator"].pop("plane_axes"), "lacks the field 'plane_axes'"),
        (set_in("generator", "plane_axes", to=None), "plane_axes must be"),
        (set_in("generator", "plane_axes", to=[]), r"plane_axes are \(\), expected 3 x 3"),
        (set_in("generator", "plane_axes", to=[AXES[0][:2]] * 3), "plane_axes are .*expected 3 x 3"),
        (set_in("generator", "plane_axes", to=[*AXES[:2], [[1, 0, 0]] * 3]), "have no inverse"),
        (set_in("generator", "plane_axes", 1, 1, 1, to=None), r"plane_axes\[1\]\[1\]\[1\] must be float"),
        (set_in("semantic", "num_classes", to=6), "the label map has 5 classes, the branch 6"),
        (lambda d: d["label_map"]["classes"].pop(), "the label map has 4 classes, the branch 5"),
        (lambda d: d["label_map"]["classes"][0].pop("id"), "config.json: label_map: a class of the label map needs"),
        (set_in("semantic", "features", to="hiden"), "semantic.features is 'hiden'; did you mean 'hidden'"),
        (set_in("fingerprints", "generator", to="0" * 16), "has the fingerprint .* says '0000"),
        (set_in("fingerprints", "semantic", to=None), "semantic has the fingerprint"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(change, message, copy):
    edit(copy, change)
    with pytest.raises(ValueError, match=message) as caught:
        checkpoints.load(copy)
    assert str(copy) in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        set_in("generator", "plane_axes", to=AXES),
        set_in("generator", "rendering", "box_warp", to=1.5),
        lambda description: description["label_map"]["classes"].reverse(),
        set_in("info", "license", to="free"),
    ],
)
def test_a_configuration_that_was_changed_is_refused(change, copy):
    """All of it is fingerprinted, not only what the arrays' shapes depend on."""
    file = copy / "config.json"
    description = json.loads(file.read_text())
    change(description)
    file.write_text(json.dumps(description))
    with pytest.raises(ValueError, match=r"config\.json has the fingerprint .*changed or damaged"):
        checkpoints.load(copy)


def test_the_first_version_is_read(copy, tiny_semantic_model):
    """It had no fingerprint of its configuration, and fewer fields; plane axes are needed, as always."""

    def older(description):
        description["schema_version"] = 1
        del description["generator"]["rendering"]["avg_camera_focal"]

    edit(copy, older)
    description = json.loads((copy / "config.json").read_text())
    del description["fingerprints"]["config"]
    (copy / "config.json").write_text(json.dumps(description))
    model = checkpoints.load(copy)
    assert model.generator.config == tiny_semantic_model.generator.config
    assert model.fingerprint == tiny_semantic_model.fingerprint
    del description["generator"]["plane_axes"]
    (copy / "config.json").write_text(json.dumps(description))
    with pytest.raises(ValueError, match="plane_axes"):
        checkpoints.load(copy)


def test_what_could_not_be_loaded_is_not_saved(tiny_model, tiny_semantic_model, tmp_path):
    labels = tiny_semantic_model.label_map
    fewer = dataclasses.replace(labels, names=labels.names[:4], colors=labels.colors[:4])
    with pytest.raises(ValueError, match="the label map has 4 classes, the branch 5"):
        checkpoints.save(tmp_path / "model", tiny_semantic_model.replace(label_map=fewer))
    with pytest.raises(ValueError, match="info is .* expected strings"):
        checkpoints.save(tmp_path / "model", tiny_model.replace(info=(("seed", 3),)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", "null", "\xff\xfe", "[" * 200_000, '{"a": NaN}'])
def test_a_configuration_that_is_no_json_object_is_refused(content, copy):
    (copy / "config.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match="config.json cannot be read as a checkpoint's configuration: .*copy"):
        checkpoints.load(copy)


def test_the_embedded_heads_are_metric(tmp_path):
    rendering = json.loads((files.ASSETS / "heads" / "config.json").read_text())["generator"]["rendering"]
    assert 0.5 < rendering["metres_per_unit"] < 0.6


def test_the_folder_of_a_run_names_its_checkpoint(tmp_path, tiny_model):
    checkpoints.save(tmp_path / "run" / "model", tiny_model)
    with pytest.raises(ValueError, match=r"run is the folder of a run: its checkpoint is .*run/model"):
        checkpoints.load(tmp_path / "run")


@pytest.mark.parametrize("damage", ["truncated", "removed", "flipped"])
def test_damaged_arrays_are_refused(damage, copy):
    arrays = [path for path in (copy / "generator").rglob("*") if path.is_file()]
    largest = max(arrays, key=lambda path: path.stat().st_size)
    content = largest.read_bytes()
    if damage == "removed":
        largest.unlink()
    elif damage == "truncated":
        largest.write_bytes(content[: len(content) // 2])
    else:
        middle = len(content) // 2
        largest.write_bytes(content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :])
    with pytest.raises(ValueError, match="generator (cannot be restored|has the fingerprint)"):
        checkpoints.load(copy)


def test_embedded_checkpoints_are_found_by_name(saved, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "ASSETS", tmp_path)
    shutil.copytree(saved, tmp_path / "mine")
    assert checkpoints.load("mine").label_map is not None
    with pytest.raises(ValueError, match=r"embedded are .*mine"):
        checkpoints.load("yours")


def test_the_embedded_generator_that_a_pack_is_of(tmp_path):
    assert [checkpoints.embedded_of(f"{world}_test") for world in ("heads", "bodies")] == ["heads", "bodies"]
    files.write_json(tmp_path / "pack.json", {"fingerprint": "0" * 16})
    with pytest.raises(ValueError, match=r"are of none of the embedded generators \['bodies', 'heads'\]: pass --check"):
        checkpoints.embedded_of(tmp_path)
