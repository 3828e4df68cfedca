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
    """Changes config.json with a function of its contents."""
    file = folder / "config.json"
    description = json.loads(file.read_text())
    change(description)
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
    def fail(*arguments):
        raise OSError("no space left on device")

    folder = copy if existing else tmp_path / "new"
    before = {path.name for path in tmp_path.iterdir()}
    monkeypatch.setattr(json, "dumps", fail)  # after the arrays are written
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
    with pytest.raises(ValueError, match="There is no checkpoint 'nowhere'.*embedded are"):
        checkpoints.load("nowhere")
    with pytest.raises(ValueError, match="config.json"):
        checkpoints.load(tmp_path)


def change_class(description):
    description["semantic"]["features"] = "hiden"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("schema_version"), "corrupt.*schema_version"),
        (lambda d: d.update(schema_version=2), "schema version 2.*reads up to 1.*Upgrade"),
        (lambda d: d.update(schema_version="new"), "schema version new"),
        (lambda d: d.pop("fingerprints"), "lacks.*fingerprints"),
        (lambda d: d["generator"].update(plane_size=3), "generator has no field 'plane_size'"),
        (lambda d: d["generator"].update(w_dim="many"), "w_dim must be int, not 'many'"),
        (lambda d: d["generator"].update(w_dim=17), "generator cannot be restored.*not those of its config.json"),
        (lambda d: d["generator"].update(mapping_layers=3), "generator cannot be restored"),
        (lambda d: d["semantic"].update(num_classes=6), "semantic cannot be restored"),
        (change_class, "semantic.features is 'hiden'; did you mean 'hidden'"),
        (lambda d: d["fingerprints"].update(generator="0" * 16), "has the fingerprint .* says 0000"),
        (lambda d: d["fingerprints"].update(semantic=None), "semantic has the fingerprint"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(change, message, copy):
    edit(copy, change)
    with pytest.raises(ValueError, match=message):
        checkpoints.load(copy)


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", "null", "\xff\xfe"])
def test_a_configuration_that_is_no_json_object_is_refused(content, copy):
    (copy / "config.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match="config.json is corrupt.*copy the checkpoint again"):
        checkpoints.load(copy)


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
