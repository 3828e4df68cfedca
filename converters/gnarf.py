"""GNARF's network pickles to checkpoints: `python -m converters.gnarf NETWORK.pkl --template FILE --out DIR`.

A GNARF network is EG3D's (see `eg3d`, which this shares all but the body with), whose planes are those of one pose of
SMPL's body. Its pickle has SMPL itself inside, which is not free, and nothing of that is taken: FILE is the user's own
SMPL file, `.pkl` or `.npz` (see `smpl`). Nothing in either is executed. What becomes of the body is in `reduced`.

    model = dnerf_jax.load(DIR)
    view = dnerf_jax.render(model, dnerf_jax.synthesize(model, z, pose=gnarf.pose(model, parameters)), camera)

with the body's parameters as in GNARF's labels. Only what was trained as published can be converted: surface fields
and rays that are bounded by the grown mesh. What differs from the released code then:

- the reduced mesh is posed by its own weights (`reduced.deviation` measures it), and the hull is grown from the posed
  one, not from the one at rest
- rays begin and end where they themselves meet the hull, not where the outermost of 8 x 8 rays beside them do
- `pose` has to be used: SMPL's pose offsets are among the directions of the shape, which a `Pose` made by hand leaves
  at what they are in the canonical pose

No published checkpoint and no SMPL file were at hand: this was checked against files of their form that tests make, and
the mesh and its rendering against recordings of the released code on another body.
"""

import dataclasses
import json
import os
import pathlib
import warnings

import jax

from dnerf_jax import cli
from dnerf_jax.io import checkpoints, folders
from dnerf_jax.models import generator
from dnerf_jax.models.articulated import Pose
from dnerf_jax.models.generator import GeneratorConfig
from dnerf_jax.models.model import Model
from dnerf_jax.networks.superresolution import PRESETS, SuperresolutionConfig

from . import archives, eg3d, layout, reduced, smpl
from .architecture import config_from, require_generator
from .attributes import Problems
from .eg3d import Fov
from .records import Record
from .reduced import Reduced
from .refusals import naming
from .smpl import Smpl

LICENSE = (
    "unknown; GNARF's code and weights were published without a licence file, on NVIDIA's code, whose licence is "
    "non-commercial: check the origin"
)
_CAMERA = 25  # numbers of a label that the mapping sees
_LABELS = (107, 111)  # the fewest and the most numbers of labels without a grid of offsets
_PRESETS = PRESETS | {
    "SuperresolutionHybrid16X": SuperresolutionConfig(input_resolution=256, widths=(128, 64), resize_larger=False)
}
_OTHER_BODY = 1e-3  # metres
_BODY = "canonical_body"


def configuration(network: Record, focal: float | None = None) -> GeneratorConfig:
    """The configuration of a pickled GNARF generator, but for its body.

    focal: of its default cameras, in image sizes; by default the box fills their image.

    Raises ValueError that lists every attribute that is missing or asks for something else than published.
    """
    require_generator(network)
    if network.child("renderer.smpl_reduced") is None:
        raise ValueError("the network has no body (renderer.smpl_reduced), so it is not GNARF's: try converters.eg3d")
    problems, mapping = Problems(), network.child("backbone.mapping") or Record()
    options = network.get("rendering_kwargs")
    options = options if isinstance(options, dict) else {}
    for name, expected in (("projector", "surface_field"), ("warping_mask", "mesh")):
        problems.expect(f"the {name} of rendering_kwargs", options.get(name), expected)
    problems.expect(
        "box_warp_pre_deform of rendering_kwargs",
        problems.switch(options, "box_warp_pre_deform", "rendering_kwargs"),
        False,
    )
    label = problems.size(network.attributes, "c_dim", "the network")
    fits = _LABELS[0] <= label <= _LABELS[1]
    problems.expect(f"whether the label's {label} numbers are {_LABELS[0]} to {_LABELS[1]}", fits, True)
    problems.expect("c_dim of backbone.mapping", mapping.get("c_dim"), _CAMERA)
    problems.stop("this GNARF network is not one that can be converted")
    # Labels go on with the body's parameters, which the mapping never sees.
    seen = Record(network.class_name, network.attributes | {"c_dim": _CAMERA})
    config = config_from(seen, focal=1.0, presets=_PRESETS)
    rendering = config.rendering
    start, end, radius = rendering.ray_start, rendering.ray_end, rendering.avg_camera_radius
    if not isinstance(start, str) and not isinstance(end, str) and not start < radius < end:
        radius = (start + end) / 2  # one radius is written into all networks, whatever their cameras were
    focal = radius / rendering.box_warp if focal is None else focal
    rendering = dataclasses.replace(rendering, avg_camera_radius=radius, avg_camera_focal=focal)
    return dataclasses.replace(config, rendering=rendering)


def convert(
    network: Record, body: Smpl, *, info: dict[str, str] | None = None, focal: float | None = None
) -> tuple[Model, Reduced]:
    """The model of a pickled GNARF generator on a body model, and what the pickle says of its body.

    Raises ValueError that lists what does not fit: attributes, or else the body's arrays, or else tensors; or the body
    model has another mesh than the network's.
    """
    config = configuration(network, focal)
    mesh = reduced.read(network.child("renderer") or Record())
    reduced.require_same(mesh, body)
    articulation, template = reduced.template(mesh, body)
    rendering = dataclasses.replace(config.rendering, metres_per_unit=1 / mesh.scale)
    config = dataclasses.replace(config, articulation=articulation, rendering=rendering)
    abstract = generator.abstract(dataclasses.replace(config, articulation=None))
    tensors = {name: array for name, array in network.state_dict().items() if not name.startswith("renderer.")}
    variables = layout.to_variables(tensors, abstract.variables) | {"template": template}
    notes = (info or {}) | {_BODY: json.dumps(mesh.canonical)}
    return Model(generator=generator.Generator(config, variables), info=tuple(notes.items())), mesh


def read_model(
    path: str | os.PathLike,
    template: str | os.PathLike,
    network: str = "G_ema",
    *,
    license: str | None = None,
    fov: float | None = None,
) -> Model:
    """The model in a file, on the body model of another, with origins and licences.

    fov: of its default cameras in degrees, as EG3D's scripts count it; by default the box fills their image.

    Raises ValueError, always naming the file at fault, where `eg3d.read_network`, `smpl.read` or `convert` do.
    """
    focal = None if fov is None else eg3d.focal_length(path, fov)
    name, record = eg3d.find(path, network)
    with naming(path):
        configuration(record, focal)
    body = smpl.read(template)
    info = eg3d.provenance(path, name, LICENSE if license is None else license)
    info |= {"template": pathlib.Path(template).name, "template_sha256": archives.sha256(template)}
    info |= {"template_license": smpl.LICENSE}
    with naming(f"{path} on the template {template}"):
        model, mesh = convert(record, body, info=info, focal=focal)
    other = reduced.of_another(mesh, body)
    if other > _OTHER_BODY:
        warnings.warn(
            f"{template} is another body than the one that {path} was trained with: half of its vertices lie more than "
            f"{100 * other:.1f} cm from theirs (GNARF's is SMPL's male one, version 1.0.0)",
            stacklevel=2,
        )
    half, most, every = reduced.deviation(mesh, body, model.generator.variables["template"])
    found = f"{1000 * half:.2g}, {1000 * most:.2g}, {1000 * every:.2g} mm (half, 99 %, all vertices)"
    return model.replace(info=(*model.info, ("template_deviation", f"{found} where one joint turns by 60 degrees")))


def pose(model: Model, parameters: jax.Array) -> Pose:
    """The pose (...) of a converted model's body with these parameters of GNARF's labels, behind their camera.

    parameters: (..., 82), or (..., 85) with a translation, see `reduced.pose`. Labels are (..., 108) or (..., 111), of
    which these are [25:107] or [25:110].

    Raises ValueError: they are not as many, or the model was not converted from GNARF.
    """
    text = dict(model.info).get(_BODY)
    if text is None or model.generator.config.articulation is None:
        raise ValueError("the model has no body of GNARF's: convert one by converters.gnarf")
    return reduced.pose(model.generator.variables["template"], json.loads(text), parameters)


def summary(model: Model) -> str:
    """A few lines for people: as EG3D's, and the body."""
    config = model.generator.config
    moves, scale = config.articulation, config.rendering.metres_per_unit or 1.0
    assert moves is not None
    told = model.replace(info=tuple((key, value) for key, value in model.info if key != _BODY))
    return (
        f"body           {len(moves.bones)} bones, {moves.num_vertices} vertices, {moves.num_faces} faces, a unit is "
        f"{scale:.4g} m, the hull {100 * moves.hull * scale:.3g} cm off\n{eg3d.summary(told)}"
    )


def main(
    pickle: str,
    /,
    template: str,
    out: str,
    network: str = "G_ema",
    license: str | None = None,
    fov: Fov | None = None,
) -> None:
    """Converts one file; prints what was written, under which licences, and how exact the body is.

    pickle: a network pickle of GNARF's training or publication
    template: the SMPL file that it was trained with, .pkl or .npz: your own, under SMPL's licence
    out: the checkpoint to write; must not exist yet
    network: which network of the file, where it has several
    license: licence of the weights, recorded with them
    fov: field of view of the default cameras in degrees, as EG3D's scripts count it; by default they see the box
    """
    with folders.claimed(out) as folder:
        if any(not entry.name.startswith(".") for entry in folder.iterdir()):
            raise ValueError(f"{out} exists and is not empty: give another --out, or remove it first")
        model = read_model(pickle, template, network, license=license, fov=fov)
        checkpoints.save(folder, model, replace=True)
    print(summary(model))
    print(f"written to {out}")


if __name__ == "__main__":
    cli.door(main)
