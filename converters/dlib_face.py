"""dlib's face recognition network: `python -m converters.dlib_face FILE --out DIR`.

FILE is the package as pip downloads it (`pip download --no-deps face-recognition-models==0.3.0`) or, in it, the file
dlib_face_recognition_resnet_model_v1.dat. Nothing in it is executed; dlib is not needed.

The file is one network of layers within each other. Their versions come first, the outermost layer's first; then the
input's and the layers' own numbers, the innermost layer's first. A convolution, the scale and offset that follow it in
dlib (`affine`), and the range of the input become one convolution here:

    scale * (kernel * x + bias) + offset  =  (scale * kernel) * x + (scale * bias + offset)
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from flax import traverse_util

from dnerf_jax import cli
from dnerf_jax.io import loss_networks
from dnerf_jax.models.identity import Identity, IdentityConfig
from dnerf_jax.networks.face_descriptor import FaceDescriptorConfig

from . import archives, licences
from .dlib_format import Reader
from .refusals import naming

MEMBER = "face_recognition_models/models/dlib_face_recognition_resnet_model_v1.dat"
SIZE, PADDING = 150, 0.25  # of a chip, in pixels and in sizes of the mean face
_LARGEST = 64 << 20  # bytes of a file; the published one has 22 MB
# Where dlib's mean face has the five landmarks that its chips are aligned by, in its own size.
_MEAN_FACE = {
    "left_eye_outer": (0.8595674595992, 0.2134981538014),
    "left_eye_inner": (0.6460604764104, 0.2289674387677),
    "right_eye_outer": (0.1205750620789, 0.2137274526848),
    "right_eye_inner": (0.3340850613712, 0.2290642403242),
    "nose_base": (0.4901123135679, 0.6277975316475),
}


def chip_points() -> tuple[tuple[str, float, float], ...]:
    """The five landmarks and their places in a chip, in pixels whose centres are at halves.

    dlib puts the first and the last pixel of a chip on the border of the region that it cuts out.
    """

    def place(value: float) -> float:
        return (value + PADDING) / (1 + 2 * PADDING) * (SIZE - 1) + 0.5

    return tuple((name, place(x), place(y)) for name, (x, y) in _MEAN_FACE.items())


def layers(config: FaceDescriptorConfig) -> Iterator[tuple[Any, ...]]:
    """dlib's layers, the innermost first: their kind; of a convolution also path, channels, size and stride."""
    yield "con", "stem", config.widths[0], 7, 2
    yield from (("affine",), ("relu",), ("max_pool", 3, 3, 2, 2))
    for stage, (width, depth) in enumerate(zip(config.widths, config.depths, strict=True)):
        for block in range(depth):
            halves = stage > 0 and block == 0
            yield ("tag",)
            yield "con", f"stage{stage}_{block}/a", width, 3, 2 if halves else 1
            yield from (("affine",), ("relu",))
            yield "con", f"stage{stage}_{block}/b", width, 3, 1
            yield ("affine",)
            if halves:
                yield from (("tag",), ("skip",), ("avg_pool", 2, 2, 2, 2))
            yield from (("add_prev",), ("relu",))
    yield from (("avg_pool", 0, 0, 1, 1), ("fc",))


def read(path: str, *, network: FaceDescriptorConfig | None = None) -> Identity:
    """The network in dlib's file.

    network: its sizes; None is the published network's.

    Raises ValueError, naming the file: it is cut off, goes on too long, or is another network.
    """
    network = network or FaceDescriptorConfig()
    reader = Reader(path, _LARGEST)
    with naming(path):
        inside_out = list(layers(network))
        reader.expect("the version of the loss", reader.integer(), 1)
        reader.expect("the loss", reader.text(), "loss_metric_2")
        for _ in range(2):  # margin and threshold of its training
            reader.number()
        for kind, *_ in inside_out[:0:-1]:
            reader.expect(f"the version of {kind}", reader.integer(), 1 if kind in ("tag", "skip") else 2)
        reader.expect("the version of the first layer", reader.integer(), 3)
        means = _input(reader)
        params: dict[str, np.ndarray] = {}
        last, channels = "", 3
        for number, (kind, *numbers) in enumerate(inside_out):
            if kind == "con":
                last, width, size, stride = numbers
                kernel, bias = _convolution(reader, channels, width, size, stride)
                params[f"{last}/kernel"], params[f"{last}/bias"] = kernel, bias
                channels = width
            elif kind == "affine":
                scale, offset = _affine(reader, channels)
                with np.errstate(over="ignore", invalid="ignore"):  # of a damaged file: see below
                    params[f"{last}/kernel"] = params[f"{last}/kernel"] * scale
                    params[f"{last}/bias"] = params[f"{last}/bias"] * scale + offset
            elif kind == "fc":
                params["descriptor/kernel"] = _matrix(reader, channels, network.features)
            elif kind in ("max_pool", "avg_pool"):
                reader.expect("a pool", reader.text(), f"{kind}_2")
                reader.expect(f"the numbers of {kind}", [reader.integer() for _ in range(6)], [*numbers, 0, 0])
            elif kind in ("relu", "add_prev"):
                reader.expect("a layer", reader.text(), f"{kind}_")
            if kind not in ("tag", "skip"):
                _left_over(reader)
            if number == 0:
                reader.expect("how often images are repeated", reader.integer(), 1)
        reader.end()
        if not all(np.isfinite(value).all() for value in params.values()):
            raise ValueError("it has weights that are not finite")
    config = IdentityConfig(
        network=network,
        size=SIZE,
        points=chip_points(),
        mean=tuple(mean / 127.5 - 1 for mean in means),  # type: ignore[arg-type]
        deviation=(256 / 127.5,) * 3,
        unit=False,
    )
    return Identity(config, traverse_util.unflatten_dict(params, sep="/"))


def _input(reader: Reader) -> list[float]:
    """The means of red, green and blue that are subtracted from bytes, which are then divided by 256."""
    reader.expect("the input", reader.text(), "input_rgb_image_sized")
    means = [reader.number() for _ in range(3)]
    reader.expect("the size of the input", [reader.integer(), reader.integer()], [SIZE, SIZE])
    return means


def _convolution(reader: Reader, inputs: int, width: int, size: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Kernel (size, size, inputs, width) and bias (width,)."""
    reader.expect("a layer", reader.text(), "con_4")
    weights = reader.tensor().ravel()
    border = 0 if stride > 1 else size // 2
    found = [reader.integer() for _ in range(7)]
    reader.expect("a convolution", found, [width, size, size, stride, stride, border, border])
    shape = [width, inputs, size, size]
    reader.expect("the kernel's shape", reader.shape(), shape)
    reader.expect("the bias's shape", reader.shape(), [1, width, 1, 1])
    _rates(reader)
    reader.expect("the count of weights", weights.size, (inputs * size * size + 1) * width)
    return weights[:-width].reshape(shape).transpose(2, 3, 1, 0), weights[-width:]


def _affine(reader: Reader, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Scale and offset (channels,)."""
    reader.expect("a layer", reader.text(), "affine_")
    both = reader.tensor().ravel()
    for _ in range(2):
        reader.expect("the shape of a scale or an offset", reader.shape(), [1, channels, 1, 1])
    reader.expect("the mode of an affine layer", reader.integer(), 0)
    reader.expect("the count of scales and offsets", both.size, 2 * channels)
    return both[:channels], both[channels:]


def _matrix(reader: Reader, inputs: int, outputs: int) -> np.ndarray:
    """The last layer's matrix (inputs, outputs)."""
    reader.expect("the last layer", reader.text(), "fc_2")
    reader.expect("its sizes", [reader.integer(), reader.integer()], [outputs, inputs])
    matrix = reader.tensor()
    reader.expect("its shape", reader.shape(), [inputs, outputs, 1, 1])
    reader.expect("the shape of its bias", reader.shape(), [0, 0, 0, 0])
    reader.expect("whether it has no bias", reader.integer(), 1)
    _rates(reader)
    reader.expect("the count of its weights", matrix.size, inputs * outputs)
    return matrix.reshape(inputs, outputs)


def _rates(reader: Reader) -> None:
    """Factors of the learning rate and the weight decay, for weights and biases."""
    for _ in range(4):
        reader.number()


def _left_over(reader: Reader) -> None:
    """What training left in a layer: three flags, and three tensors that are empty in published files."""
    for _ in range(3):
        reader.boolean()
    for _ in range(3):
        reader.tensor()


def main(file: str, /, out: str, dtype: str = "int8") -> None:
    """Converts the network and writes a folder that `loss_networks.load_identity` reads.

    file: face_recognition_models-0.3.0.tar.gz, or the dlib_face_recognition_resnet_model_v1.dat in it
    out: the folder to write; must not have content yet
    dtype: of the arrays on the disk: float32, float16 or int8
    """
    with archives.found(file, MEMBER) as path:
        network = read(str(path))
        info = {"origin": MEMBER.rsplit("/", 1)[-1], "origin_sha256": archives.sha256(path)}
    info["license"] = "public domain, CC0 1.0"
    loss_networks.save(out, network, info=info, license_text=licences.DLIB_FACE, dtype=dtype)
    print(f"dlib's face descriptor as {dtype} written to {out}")


if __name__ == "__main__":
    cli.door(main)
