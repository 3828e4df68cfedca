"""What is sought: a scene, by whichever numbers describe it, and the cameras that see it.

A `Subject` is everything; a stage's parameters are the part of it that is free, a dictionary that optimisers see:

    {"z": (z_dim,)} or {"ws": (1 or num_ws, w_dim)} or {"weights": the generator's}, and {"camera": {"yaw": (V,), ...}}
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from dnerf_jax.models import scenes
from dnerf_jax.models.model import Model
from dnerf_jax.models.scenes import Scene, View
from dnerf_jax.ops import orbiting
from dnerf_jax.ops.cameras import Camera
from dnerf_jax.ops.orbiting import Orbit

# What one unit of a camera's parameter is, so that one learning rate serves all: radians as they are, the others so
# that a unit moves the picture about as much.
UNITS = {"yaw": 1.0, "pitch": 1.0, "roll": 1.0, "radius": 2.7, "pivot": 1.0, "focal": 4.0}
LATENTS = {"z": "z", "w": "ws", "w+": "ws", "tune": "weights"}  # what each stage seeks
TUNED = ("synthesis", "decoder", "superresolution")  # parts of the generator that tuning changes


@struct.dataclass
class Subject:
    """A scene, as z (z_dim,) or as ws (1 or num_ws, w_dim), the other None; the orbits (V,) of the cameras that see it.

    weights: the parameters of the generator's `TUNED` parts, where they were tuned to this subject; else None.
    """

    z: jax.Array | None
    ws: jax.Array | None
    orbit: Orbit
    weights: Any = None


def model_of(model: Model, subject: Subject) -> Model:
    """The model, tuned if the subject's is."""
    if subject.weights is None:
        return model
    variables = model.generator.variables
    tuned = {**variables, "params": {**variables["params"], **subject.weights}}
    return model.replace(generator=model.generator.replace(variables=tuned))


def ws_of(model: Model, subject: Subject) -> jax.Array:
    """The intermediate latents (num_ws, w_dim)."""
    config = model.generator.config
    if subject.z is not None:
        return _to_ws(model.generator, subject.z)
    return jnp.broadcast_to(jnp.asarray(subject.ws), (config.num_ws, config.w_dim))


def synthesize(model: Model, subject: Subject) -> Scene:
    """The scene of a subject."""
    return _synthesize(model_of(model, subject), ws_of(model, subject))


def camera_of(subject: Subject) -> Camera:
    """The cameras (V,) that see it."""
    return _camera(subject.orbit)


def views_of(model: Model, subject: Subject) -> list[View]:
    """What all cameras (V,) of the subject see; its scene is synthesized once."""
    # By way of the host: what was found is bound to a device, what was given is not, and either has its own program.
    ws, camera = jax.tree.map(np.asarray, (ws_of(model, subject), camera_of(subject)))
    tuned = model_of(model, subject)
    scene = _synthesize(tuned, ws)
    return [_render(tuned, scene, one) for one in camera]


# One program each: done piece by piece, a first scene alone compiles five hundred.
_to_ws = jax.jit(scenes.to_ws)
_camera = jax.jit(orbiting.camera)


@jax.jit
def _synthesize(model: Model, ws: jax.Array) -> Scene:
    return scenes.synthesize(model, ws=ws)


@jax.jit
def _render(model: Model, scene: Scene, camera: Camera) -> View:
    return scenes.render(model, scene, camera, skip_empty=True)


def in_space(stage: str, model: Model, subject: Subject) -> Subject:
    """The subject as the numbers that a stage seeks.

    Raises ValueError: the stage is z, and there are only ws.
    """
    if stage == "z":
        if subject.z is None:
            raise ValueError("the stage z needs a latent z to go on from, and there are only ws: begin with w or w+")
        return subject
    if stage == "tune":
        params = model.generator.variables["params"]
        return subject.replace(weights=subject.weights or {part: params[part] for part in TUNED if part in params})
    ws = ws_of(model, subject)
    return subject.replace(z=None, ws=ws if stage == "w+" else jnp.mean(ws, axis=0, keepdims=True))


def free_part(subject: Subject, latent: str, camera: tuple[str, ...]) -> dict[str, Any]:
    """The parameters of a stage: `latent` ("z", "ws" or "weights"), and these numbers of the cameras, in UNITS."""
    numbers = {name: getattr(subject.orbit, name) / UNITS[name] for name in camera}
    return {latent: getattr(subject, latent), "camera": numbers}


def joined(subject: Subject, params: dict[str, Any]) -> Subject:
    """The subject with a stage's parameters in it."""
    changed = {name: value for name, value in params.items() if name != "camera"}
    numbers = {name: value * UNITS[name] for name, value in params["camera"].items()}
    return subject.replace(orbit=subject.orbit.replace(**numbers), **changed)


def default_orbit(model: Model, yaw: Any = 0.0, pitch: Any = 0.0) -> Orbit:
    """Orbits (...) of the generator's own cameras at these angles (...) in radians."""
    options = model.generator.config.rendering
    return orbiting.default(
        radius=options.avg_camera_radius,
        pivot=options.avg_camera_pivot,
        focal=options.avg_camera_focal,
        yaw=yaw,
        pitch=pitch,
    )
