"""EG3D's network pickles to checkpoints of dnerf_jax: `python -m converters.eg3d NETWORK.pkl --out DIR`.

Nothing in the pickle is executed and PyTorch is not needed (see `pickles`). The checkpoint has all that the
network needs: weights, average w, noise, clamps, rendering options, plane axes; it loads with
`dnerf_jax.load(DIR)`.
"""

import hashlib
import os
import pathlib
import warnings
from typing import Annotated

from dnerf_jax import cli
from dnerf_jax.io import checkpoints, folders
from dnerf_jax.models import generator
from dnerf_jax.models.model import Model
from dnerf_jax.ops import cameras
from dnerf_jax.ops.messages import some
from dnerf_jax.ops.ranges import Range

from . import layout, pickles
from .architecture import config_from, is_state_dict, require_generator
from .records import Record
from .refusals import naming, shown

NVIDIA_LICENSE = "NVIDIA Source Code License for EG3D: non-commercial, research and evaluation use only"
UNKNOWN_LICENSE = f"unknown; check the origin (weights that NVIDIA published are under its {NVIDIA_LICENSE[7:]})"

_CARS = 131.25 / 128
# The files that NVIDIA published, by name, and the focal length (in image sizes) of the cameras that they were trained
# with, which no attribute says.
PUBLISHED = {
    "ffhq512-64.pkl": cameras.FOCAL,
    "ffhq512-128.pkl": cameras.FOCAL,
    "ffhqrebalanced512-64.pkl": cameras.FOCAL,
    "ffhqrebalanced512-128.pkl": cameras.FOCAL,
    "afhqcats512-128.pkl": cameras.FOCAL,
    "shapenetcars128-64.pkl": _CARS,
}
_FOV = Range(above=0, below=180)
Fov = Annotated[float, _FOV]


def read_network(path: str | os.PathLike, network: str = "G_ema") -> Record:
    """The record of one network in an EG3D pickle: "G_ema" (the one to use) or "G"; or the only one that a file has.

    Raises ValueError, always naming the file, if it cannot be read without executing something, or has no EG3D
    generator of that name.
    """
    return find(path, network)[1]


def find(path: str | os.PathLike, network: str) -> tuple[str, Record]:
    """A generator and its name: the one that is asked for, the only thing in the file, or the file as a whole."""
    content = pickles.read(path)
    with naming(path):
        if not isinstance(content, dict) or is_state_dict(content):
            require_generator(content)
            return "the whole file", content
        if network not in content and len(content) != 1:
            names = some(map(shown, content)) or "nothing"
            raise ValueError(f"it has no network {network}; it has {names}: name one with --network")
        (name,) = [network] if network in content else content
    with naming(f"{path}, {shown(name)}"):
        require_generator(content[name])
    return shown(name).strip("'"), content[name]


def convert(network: Record, *, info: dict[str, str] | None = None, focal: float = cameras.FOCAL) -> Model:
    """The model of a pickled EG3D generator: configuration, and float32 tensors in Flax's layout.

    focal: of its default cameras, in image sizes, which no attribute says.

    Raises ValueError that lists all attributes, or else all tensors, that do not fit; or the network is GNARF's.
    """
    if network.child("renderer.smpl_reduced") is not None:
        raise ValueError("the network is GNARF's, which moves with a body: convert it by converters.gnarf")
    abstract = generator.abstract(config_from(network, focal=focal))
    variables = layout.to_variables(network.state_dict(), abstract.variables)
    return Model(generator=abstract.replace(variables=variables), info=tuple((info or {}).items()))


def read_model(
    path: str | os.PathLike, network: str = "G_ema", *, license: str | None = None, fov: float | None = None
) -> Model:
    """The model in a file, with its origin and licence.

    fov: the field of view of its default cameras as EG3D's scripts count it (`cameras.focal_from_fov`), in degrees;
      by default told from the file's name (`PUBLISHED`), else that of EG3D's faces, with a warning.

    Raises ValueError, always naming the file, where `read_network` or `convert` do.
    """
    focal = focal_length(path, fov)
    name, record = find(path, network)
    origin = provenance(path, name, license)
    with naming(path):
        model = convert(record, info=origin, focal=focal)
    if fov is None and pathlib.Path(path).name not in PUBLISHED:
        warnings.warn(
            f"the cameras that {path} was trained with are not known, and taken to have the focal length of EG3D's "
            f"faces, {cameras.FOCAL} image sizes; give their field of view by --fov DEGREES (18.83 is this one; 69.19 "
            "that of EG3D's cars)",
            stacklevel=2,
        )
    return model


def focal_length(path: str | os.PathLike, fov: float | None = None) -> float:
    """The focal length, in image sizes, of a file's default cameras: see `read_model`."""
    if fov is None:
        return PUBLISHED.get(pathlib.Path(path).name, cameras.FOCAL)
    if fov not in _FOV:
        raise ValueError(f"fov is {fov} degrees, expected {_FOV}")
    return float(cameras.focal_from_fov(fov))


def provenance(path: str | os.PathLike, network: str, license: str | None = None) -> dict[str, str]:
    """What a checkpoint records of its origin: file name, SHA-256, network, licence."""
    path = pathlib.Path(path)
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if license is None:
        license = NVIDIA_LICENSE if path.name in PUBLISHED else UNKNOWN_LICENSE
    return {"origin": path.name, "origin_sha256": digest, "network": network, "license": license}


def summary(model: Model) -> str:
    """A few lines for people: the sizes, how the network renders, origin and licence."""
    config, rendering = model.generator.config, model.generator.config.rendering
    size = config.plane_resolution
    samples = f"{rendering.depth_resolution} + {rendering.depth_resolution_importance}"
    lines = [
        f"planes         3 x {config.plane_channels} x {size} x {size}, box {rendering.box_warp}",
        f"rays           {rendering.ray_start} to {rendering.ray_end}, {samples} samples,"
        f" at {config.neural_rendering_resolution} x {config.neural_rendering_resolution}",
        f"image          {config.image_resolution} x {config.image_resolution}",
        f"camera         radius {rendering.avg_camera_radius} about the origin, looks at {rendering.avg_camera_pivot},"
        f" focal length {rendering.avg_camera_focal:.6g} image sizes",
        *(f"{key:14} {value}" for key, value in model.info),
    ]
    return "\n".join(lines)


def main(pickle: str, /, out: str, network: str = "G_ema", license: str | None = None, fov: Fov | None = None) -> None:
    """Converts one file; prints what was written and under which licence.

    pickle: a network pickle of EG3D's training or publication
    out: the checkpoint to write; must not exist yet
    network: which network of the file, where it has several
    license: licence of the weights, recorded with them; by default told from the file's name
    fov: field of view of the default cameras in degrees, as EG3D's scripts count it; by default told from the file's
      name if it is a published one, else that of EG3D's faces
    """
    with folders.claimed(out) as folder:
        if any(not entry.name.startswith(".") for entry in folder.iterdir()):
            raise ValueError(f"{out} exists and is not empty: give another --out, or remove it first")
        model = read_model(pickle, network, license=license, fov=fov)
        checkpoints.save(folder, model, replace=True)
    print(summary(model))
    print(f"written to {out}")


if __name__ == "__main__":
    cli.door(main)
