"""SMPL's files are read in all their forms, nothing in them runs, and what is no body model is refused by name."""

import bodies
import foreign
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from foreign import Call, Name, New

from converters import pickles, smpl


@pytest.mark.parametrize("form", ["npz", "pkl of protocol 0", "pkl of protocol 1", "pkl of protocol 2", "clean pkl"])
def test_all_forms_are_the_same_body(tmp_path, form):
    path = tmp_path / ("smpl." + form.split()[-1] if form.endswith("pkl") else f"smpl.{form.split()[0]}")
    if form == "npz":
        bodies.npz(path)
    elif form == "clean pkl":  # as it is saved again by Python 3, without what is not NumPy's
        path.write_bytes(foreign.dumps(bodies.smpl()))
    else:
        bodies.pkl(path, int(form[-1]))
    body, expected = smpl.read(path), bodies.smpl()
    np.testing.assert_array_equal(body.vertices, expected["v_template"])
    np.testing.assert_array_equal(body.regressor, expected["J_regressor"])
    np.testing.assert_array_equal(body.weights, expected["weights"])
    np.testing.assert_array_equal(body.faces, expected["f"])
    np.testing.assert_array_equal(np.moveaxis(body.shapes, 0, -1), expected["shapedirs"][..., :10])
    np.testing.assert_array_equal(np.moveaxis(body.offsets, 0, -1), expected["posedirs"])
    assert body.parents == bodies.PARENTS
    assert all(array.dtype == np.float64 for array in (body.vertices, body.shapes, body.offsets, body.weights))


def test_rotations_are_those_of_the_exponential():
    vectors = np.random.default_rng(0).normal(size=(5, 2, 3))
    x, y, z = np.moveaxis(vectors, -1, 0)
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(5, 2, 3, 3)
    expected = jax.vmap(jax.scipy.linalg.expm)(jnp.asarray(cross.reshape(-1, 3, 3), jnp.float32)).reshape(cross.shape)
    np.testing.assert_allclose(smpl.rotations(vectors), expected, atol=1e-5)
    np.testing.assert_allclose(smpl.rotations(jnp.asarray(vectors)), expected, atol=1e-5)
    np.testing.assert_allclose(smpl.rotations(np.zeros(3)), np.eye(3), atol=1e-15)
    gradient = jax.grad(lambda v: jnp.sum(smpl.rotations(v) * jnp.arange(9.0).reshape(3, 3)))(jnp.zeros(3))
    assert np.isfinite(np.asarray(gradient)).all() and np.abs(gradient).max() > 1


def _wrong():
    arrays, zeros = bodies.smpl(), np.zeros
    joints = arrays["J_regressor"]
    column = np.zeros(len(joints[0]) + 1, np.int32)
    return {
        "v_template is an array of the shape .*, expected": {"v_template": zeros((5, 2))},
        "weights is .*, expected the shape": {"weights": arrays["weights"][:, :20]},
        "kintree_table is .*, expected the shape": {"kintree_table": zeros((2, 55), np.int64)},
        "shapedirs is .*10 or more": {"shapedirs": arrays["shapedirs"][..., :9]},
        "f has numbers from 0 to 9999": {"f": np.int64([[0, 1, 9999]])},
        "each joint after its own": {"kintree_table": arrays["kintree_table"][:, ::-1]},
        "not of sum 1": {"weights": 2 * arrays["weights"]},
        "posedirs has numbers that are not finite": {"posedirs": arrays["posedirs"] * np.nan},
        "J_regressor is 3, expected an array of numbers": {"J_regressor": 3},
        "posedirs is an object of the class 'ChLambda'": {
            "posedirs": bodies._object("chumpy.ch", "ChLambda", {"x": 1}, 2)
        },
        "J_regressor is None, expected": {"J_regressor": bodies.chumpy({})},
        "parts do not fit together": {"J_regressor": bodies.sparse(joints, indptr=column)},
        "entries that are not there": {"J_regressor": bodies.sparse(joints, indices=np.full(joints.size, 24))},
    }


@pytest.mark.parametrize("words", _wrong())
def test_what_does_not_fit_is_named(tmp_path, words):
    path = bodies.pkl(tmp_path / "smpl.pkl", **_wrong()[words])
    with pytest.raises(ValueError, match=f"^{path}: (.|\n)*{words}"):
        smpl.read(path)


def test_files_that_are_no_body_model_are_refused(tmp_path):
    path = tmp_path / "smpl.pkl"
    with pytest.raises(ValueError, match="is not a file: give the path of a SMPL file"):
        smpl.read(path)
    path.write_bytes(b"\x1f\x8b" + bytes(600))
    with pytest.raises(ValueError, match=f"{path} is no SMPL file but compressed by gzip"):
        smpl.read(path)
    path.write_bytes(foreign.dumps([1, 2]))
    with pytest.raises(ValueError, match=r"it holds \[1, 2\], expected a dict"):
        smpl.read(path)
    path.write_bytes(foreign.dumps({"v_template": np.zeros((3, 3))}))
    with pytest.raises(ValueError, match="it has no shapedirs, posedirs, J_regressor, weights, kintree_table, f,"):
        smpl.read(path)
    whole = bodies.pkl(path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=f"{path} is truncated or not a pickle"):
        smpl.read(path)
    with pytest.raises(ValueError, match="lacks the arrays"):
        smpl.read(bodies.npz(tmp_path / "smpl.npz", J_regressor=None))
    joints = np.array([bodies.smpl()["J_regressor"]], object)  # as `np.savez` writes what it takes for an object
    with pytest.raises(ValueError, match="J_regressor(.|\n)*not that of plain numbers"):
        smpl.read(bodies.npz(tmp_path / "smpl.npz", J_regressor=joints))


@pytest.mark.parametrize(
    "attack, words",
    [
        (Call(Name("os", "system"), ("touch {0}",)), "os.system, .*the allowlist of what SMPL's files need"),
        (
            Call(Name("copy_reg", "_reconstructor"), (Name("builtins", "eval"), Name("builtins", "object"), None)),
            "eval",
        ),
        (Call(Name("copy_reg", "_reconstructor"), (Name("chumpy.ch", "Ch"), Name("chumpy.ch", "Ch"), None)), "made of"),
        (Call(Name("copy_reg", "_reconstructor"), (Name("collections", "OrderedDict"), None, None)), "made of"),
        (New(Name("chumpyx.ch", "Ch"), {"x": 1}), "chumpyx.ch.Ch"),
        (Call(Name("scipy.sparse", "load_npz"), ("x",)), "a call of the class load_npz"),
        (Call(Name("chumpy.ch", "Ch"), (1,)), "a call of the class Ch"),
        (Call(Name("builtins", "object"), ()), "truncated or not a pickle"),
    ],
)
def test_nothing_is_executed(tmp_path, attack, words):
    path = tmp_path / "smpl.pkl"
    path.write_bytes(foreign.dumps(bodies.smpl() | {"weights_prior": attack}, 2))
    with pytest.raises(ValueError, match=words) as error:
        smpl.read(path)
    assert str(path) in str(error.value)


def test_what_is_not_needed_may_be_anything_inert(tmp_path):
    path = tmp_path / "smpl.pkl"
    others = {"J": New(Name("chumpy.ch_ops", "MatVecMult"), {"mtx": 1}), "pose_training_info": {"names": ["a"]}}
    path.write_bytes(foreign.dumps(bodies.smpl() | others, 2))
    assert smpl.read(path).parents == bodies.PARENTS


def test_network_pickles_may_not_ask_for_what_smpl_may(tmp_path):
    path = bodies.pkl(tmp_path / "smpl.pkl")
    with pytest.raises(ValueError, match="chumpy.ch.Ch, which is not on the allowlist of what EG3D's network pickles"):
        pickles.read(path)
