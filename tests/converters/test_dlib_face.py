"""dlib's file of the face descriptor: every byte accounted for, the network as dlib computes it, damage refused.

The files here are written by the test, of random weights and fewer layers. That the published file's network agrees
with dlib itself was measured once: docs/loss_networks.md.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from converters import dlib_face
from dnerf_jax.io import loss_networks
from dnerf_jax.models import identity
from dnerf_jax.networks.face_descriptor import FaceDescriptorConfig

SMALL = FaceDescriptorConfig(widths=(4, 6, 8), depths=(2, 2, 1), features=7)
MEANS = (122.75, 117.0, 104.25)


def integer(value):
    size = max(1, (abs(value).bit_length() + 7) // 8)
    return bytes([size | (0x80 if value < 0 else 0)]) + abs(value).to_bytes(size, "little")


def integers(*values):
    return b"".join(integer(value) for value in values)


def number(value):
    mantissa, exponent = np.frexp(value)
    return integers(int(mantissa * 2**24), int(exponent) - 24)


def text(value):
    return integer(len(value)) + value.encode()


def tensor(array):
    shape = (*array.shape, *[1] * (4 - array.ndim)) if array.size else (0,) * 4
    return integers(2, *shape) + array.astype("<f4").tobytes()


LEFT_OVER = b"110" + tensor(np.zeros(0)) * 3
RATES = number(1.0) * 3 + number(0.0)


def written(seed=0):
    """A file of dlib, and the weights in it: for every convolution kernel, bias, scale and offset; and the matrix."""
    rng, body, kept, channels = np.random.default_rng(seed), [], [], 3
    inside_out = list(dlib_face.layers(SMALL))
    for place, (kind, *told) in enumerate(inside_out):
        if kind == "con":
            _, width, size, stride = told
            kernel = rng.standard_normal((width, channels, size, size)) / (size * np.sqrt(channels / 2))
            bias = rng.standard_normal(width)
            border = 0 if stride > 1 else size // 2
            layer = text("con_4") + tensor(np.concatenate([kernel.ravel(), bias]))
            layer += integers(width, size, size, stride, stride, border, border)
            layer += integers(1, width, channels, size, size) + integers(1, 1, width, 1, 1) + RATES
            kept.append([kernel, bias])
            channels = width
        elif kind == "affine":
            scale, offset = 1 + 0.2 * rng.standard_normal(channels), rng.standard_normal(channels)
            layer = text("affine_") + tensor(np.concatenate([scale, offset]))
            layer += integers(1, 1, channels, 1, 1) * 2 + integer(0)
            kept[-1] += [scale, offset]
        elif kind == "fc":
            matrix = rng.standard_normal((channels, SMALL.features))
            layer = text("fc_2") + integers(SMALL.features, channels) + tensor(matrix)
            layer += integers(1, channels, SMALL.features, 1, 1) + integers(1, 0, 0, 0, 0) + integer(1) + RATES
            kept.append(matrix)
        elif kind in ("max_pool", "avg_pool"):
            layer = text(f"{kind}_2") + integers(*told, 0, 0)
        else:
            layer = text(f"{kind}_")
        if kind not in ("tag", "skip"):
            body.append(layer + LEFT_OVER + (integer(1) if place == 0 else b""))
    start = integer(1) + text("loss_metric_2") + number(0.04) + number(0.6)
    start += b"".join(integer(1 if kind in ("tag", "skip") else 2) for kind, *_ in inside_out[:0:-1]) + integer(3)
    start += text("input_rgb_image_sized") + b"".join(number(mean) for mean in MEANS) + integers(150, 150)
    return start + b"".join(body), kept


def convolved(x, kernel, bias, stride, border):
    """Convolution of x (C, h, w), as its definition has it."""
    x = np.pad(x, ((0, 0), (border, border), (border, border)))
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[2:], axis=(1, 2))[:, ::stride, ::stride]
    return np.einsum("chwij,ocij->ohw", windows, kernel) + bias[:, None, None]


def described(kept, picture):
    """dlib's network in NumPy, on a picture (150, 150, 3) of bytes."""
    parts = iter(kept)

    def layer(x, stride, border):
        kernel, bias, scale, offset = next(parts)
        return convolved(x, kernel, bias, stride, border) * scale[:, None, None] + offset[:, None, None]

    def pooled(x, size, how):
        windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))[:, ::2, ::2]
        return how(windows, axis=(-2, -1))

    x = ((picture - np.array(MEANS)) / 256).transpose(2, 0, 1)
    x = pooled(np.maximum(layer(x, 2, 0), 0), 3, np.max)
    for stage, depth in enumerate(SMALL.depths):
        for block in range(depth):
            halves = stage > 0 and block == 0
            y = layer(np.maximum(layer(x, 2 if halves else 1, 0 if halves else 1), 0), 1, 1)
            x = pooled(x, 2, np.mean) if halves else x
            total = np.zeros(np.maximum(x.shape, y.shape))
            for value in (x, y):
                total[tuple(slice(size) for size in value.shape)] += value
            x = np.maximum(total, 0)
    return x.mean(axis=(1, 2)) @ next(parts)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "small.dat"
    path.write_bytes(written()[0])
    return path


def test_the_network_is_dlibs(file):
    network = dlib_face.read(str(file), network=SMALL)
    picture = np.random.default_rng(1).integers(0, 256, (150, 150, 3))
    found = identity.describe(network, jnp.asarray(picture / 127.5 - 1, jnp.float32))
    np.testing.assert_allclose(found, described(written()[1], picture), rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("cut", [1, 40, 1000, -1])
def test_files_that_are_cut_off_are_refused(file, cut):
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(ValueError, match="small.dat: .*(cut off|tensor of the shape)"):
        dlib_face.read(str(file), network=SMALL)


def test_other_files_are_refused(tmp_path, file):
    content = file.read_bytes()
    for changed, message in (
        (content + b"1", "goes on after its end"),
        (content.replace(b"loss_metric_2", b"loss_metric_9"), "the loss, before byte 17"),
        (content.replace(b"con_4", b"con_5", 1), "expected 'con_4'"),
        (b"\x09" + content[1:], "begins no whole number"),
        (content.replace(tensor(np.zeros(0)), integers(2, 1, 1 << 40, 1 << 20, 1), 1), "tensor of the shape"),
        (content.replace(b"110", b"1x0", 1), "expected the letter 0 or 1"),
    ):
        path = tmp_path / "changed.dat"
        path.write_bytes(changed)
        with pytest.raises(ValueError, match=message):
            dlib_face.read(str(path), network=SMALL)
    with pytest.raises(ValueError, match="is not a file"):
        dlib_face.read(str(tmp_path / "none.dat"))
    with pytest.raises(ValueError, match="conv|con|expected"):
        dlib_face.read(str(file))  # of fewer layers than the published one


def test_the_command_writes_what_is_loaded(file, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(dlib_face, "FaceDescriptorConfig", lambda: SMALL)
    dlib_face.main(str(file), str(tmp_path / "out"))
    assert "as int8 written to" in capsys.readouterr().out
    network = loss_networks.load_identity(tmp_path / "out")
    assert network.config.network == SMALL and "public domain" in (tmp_path / "out" / "LICENSE").read_text()
    exact = dlib_face.read(str(file), network=SMALL)
    chip = jax.random.uniform(jax.random.key(0), (150, 150, 3), minval=-1)
    a, b = identity.describe(network, chip), identity.describe(exact, chip)
    assert identity.distance(a, b) < 0.02 * jnp.linalg.norm(b)
