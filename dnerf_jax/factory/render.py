"""From identities to rendered views: every number that a dataset holds comes out of here.

Identities are rendered in groups of `plan.batch`, consecutive ones of a shard, each in its own place of the group. That
makes every number a function of the plan and the index on one stack (see `provenance`): a last bit of an image depends
on the shapes of the program and on the place within them, not on what the other places hold.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dnerf_jax.factory import draws
from dnerf_jax.factory.plan import Drops, Plan
from dnerf_jax.factory.poses import Frames
from dnerf_jax.models import scenes
from dnerf_jax.models.model import Model
from dnerf_jax.models.occupancy import Bounds
from dnerf_jax.models.scenes import Scene, View
from dnerf_jax.ops.cameras import Camera
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.messages import some

_OF_OBJECTS = {"points": ("depth_z", "mask", "opacity", "normal", "confidence"), "mesh": ("depth_z", "mask")}


@dataclasses.dataclass(frozen=True, eq=False)
class Rendered:
    """An identity: its number, the attempt that was kept, z (z_dim,), views (V,) of NumPy arrays, and its scene.

    Of the views only what the plan wants is there, the rest is None. frames: (V,) numbers of their poses, where there
    are any; the scene is in that of the first view.
    """

    identity: int
    attempt: int
    z: np.ndarray
    views: View
    scene: Scene
    frames: tuple[int, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Drop:
    """A draw that was rejected: which, because of which of its views, by which rule, and the value that broke it."""

    identity: int
    attempt: int
    view: int
    rule: str
    value: float


def render(
    plan: Plan, model: Model, identities: Sequence[int], frames: Frames | None = None
) -> Iterator[tuple[Rendered, list[Drop]]]:
    """Renders identities of a shard, in order, each with the draws that were dropped before it.

    frames: the poses of the dataset, see `poses`; None leaves bodies in the canonical one.

    Raises ValueError: an image is not finite, or all attempts at an identity were dropped.
    """
    for start in range(0, len(identities), plan.batch):
        yield from _group(plan, model, identities[start : start + plan.batch], frames)


def render_group(
    plan: Plan, model: Model, identities: Sequence[int], attempts: Sequence[int], frames: Frames | None = None
) -> list[Rendered]:
    """Renders these attempts at up to `plan.batch` identities together, whatever the rules say of them."""
    config = model.generator.config
    places = list(zip(identities, attempts, strict=True))
    drawn = [draws.draw(plan, config, *which) for which in places]
    # The group is always full, so that there is one program; what is too many is left aside.
    padded = drawn + [drawn[-1]] * (plan.batch - len(drawn))
    z = np.stack([z for z, _ in padded])
    camera = jax.tree.map(lambda *parts: np.stack(parts), *(camera for _, camera in padded))
    numbers = None
    if frames is not None:
        numbers = [draws.draw_frames(plan, len(frames), *which) for which in places]
        numbers = np.asarray(numbers + [numbers[-1]] * (plan.batch - len(numbers)))
    return rerender(plan, model, identities, attempts, z, camera, frames, numbers)


def rerender(
    plan: Plan,
    model: Model,
    identities: Sequence[int],
    attempts: Sequence[int],
    z: np.ndarray,
    camera: Camera,
    frames: Frames | None = None,
    numbers: np.ndarray | None = None,
) -> list[Rendered]:
    """Renders latents z (batch, z_dim) from cameras (batch, V): what is known of the identities, not drawn.

    frames, numbers: poses, and which of them (batch, V) views are in.
    """
    resolution = model.generator.config.neural_rendering_resolution
    rows = scenes.rows_that_fit(model, resolution, views=plan.batch, memory=plan.memory_mib << 20)
    scene = _synthesize(model, z, truncation_psi=plan.truncation_psi)
    wanted = _wanted(plan)
    # Beside a body nothing is rendered anyway.
    bounds = _bounds(model, scene) if plan.skip_empty and scene.body is None else None
    first, views = scene, []
    for v in range(camera.batch_shape[1]):
        if frames is not None and numbers is not None and (not v or (numbers[:, v] != numbers[:, v - 1]).any()):
            scene = scene.replace(body=_body(model, scene, frames.at(numbers[:, v])))
            first = first if v else scene
        views.append(_render(model, scene, bounds, camera[:, v], wanted, rows))
    joined: View = jax.tree.map(lambda *parts: np.stack([np.asarray(part) for part in parts], axis=1), *views)
    for identity, image in zip(identities, joined.image, strict=False):
        if not np.isfinite(image).all():
            raise ValueError(f"identity {identity} has an image that is not finite: the checkpoint may be damaged")
    return [
        Rendered(
            identity,
            attempt,
            z[place],
            joined[place],
            jax.tree.map(lambda x, place=place: x[place], first),
            None if frames is None or numbers is None else tuple(numbers[place].tolist()),
        )
        for place, (identity, attempt) in enumerate(zip(identities, attempts, strict=True))
    ]


def require_rules(drops: Drops, label_map: LabelMap | None) -> None:
    """Raises ValueError: a rule is about labels that a model with this label map, or none, does not give."""
    if (drops.classes or drops.min_confidence is not None) and label_map is None:
        raise ValueError("drops has rules about labels, but the checkpoint has no semantic branch: train one first")
    unknown = [name for name in drops.classes if label_map is None or name not in label_map.names]
    if unknown:
        raise ValueError(f"drops names the classes {some(unknown)}: expected some of {some(label_map.names, 30)}")


def broken_rule(drops: Drops, views: View, label_map: LabelMap | None) -> tuple[int, str, float] | None:
    """The first view (V,) that breaks a rule: its number, the rule and the value; None where all keep all.

    Raises ValueError as `require_rules`.
    """
    require_rules(drops, None if views.mask is None else label_map)
    for v in range(len(views)):
        view = views[v]
        for rule, value, least, most in _measures(drops, view, label_map):
            if not least <= value <= most:
                return v, rule, value
    return None


def _measures(drops: Drops, view: View, label_map: LabelMap | None) -> Iterator[tuple[str, float, float, float]]:
    """Of every rule its name, the value of a view, and between what it has to be."""
    opaque = np.asarray(view.opacity) > 0.5
    if drops.max_border_opacity is not None:
        border = np.concatenate([opaque[0], opaque[-1], opaque[:, 0], opaque[:, -1]])
        yield "max_border_opacity", float(border.mean()), 0.0, drops.max_border_opacity
    if drops.min_confidence is not None:
        sure = np.asarray(view.confidence, np.float64)[opaque]
        yield "min_confidence", float(sure.mean()) if sure.size else 0.0, drops.min_confidence, 1.0
    for rule, areas in (("min_area", drops.min_area), ("max_area", drops.max_area)):
        for name, share in areas:
            label = label_map.names.index(name) if label_map is not None else LabelMap.IGNORE
            area = float(np.mean(np.asarray(view.mask) == label))
            yield f"{rule} {name}", area, *((share, 1.0) if rule == "min_area" else (0.0, share))


def _group(
    plan: Plan, model: Model, identities: Sequence[int], frames: Frames | None
) -> Iterator[tuple[Rendered, list[Drop]]]:
    attempts, dropped = [0] * len(identities), [[] for _ in identities]
    kept: dict[int, Rendered] = {}
    while len(kept) < len(identities):
        for place, made in enumerate(render_group(plan, model, identities, attempts, frames)):
            if place in kept:
                continue
            broken = broken_rule(plan.drops, made.views, model.label_map)
            if broken is None:
                kept[place] = made
                continue
            dropped[place].append(Drop(made.identity, made.attempt, *broken))
            attempts[place] += 1
            if attempts[place] >= plan.drops.attempts:
                rules = sorted({drop.rule for drop in dropped[place]})
                raise ValueError(
                    f"identity {made.identity} was dropped {attempts[place]} times, by {', '.join(rules)}, the last "
                    f"time for {broken[2]:.4g}: loosen the rules (drops), or allow more attempts"
                )
    for place in range(len(identities)):
        yield kept[place], dropped[place]


def _wanted(plan: Plan) -> tuple[str, ...]:
    """The fields of a view that anything is made of."""
    names = {*plan.view_modalities, "image", "camera", "opacity"}
    for kind in _OF_OBJECTS.keys() & set(plan.modalities):
        names |= set(_OF_OBJECTS[kind])
    if plan.drops != Drops(attempts=plan.drops.attempts):
        names |= {"mask", "confidence"}
    return tuple(sorted(names))


_synthesize, _bounds = jax.jit(scenes.synthesize), jax.jit(scenes.bounds)
_body = jax.jit(lambda model, scene, pose: scenes.repose(model, scene, pose).body)


@functools.partial(jax.jit, static_argnames=("wanted", "rows"))
def _render(
    model: Model, scene: Scene, bounds: Bounds | None, camera: Camera, wanted: tuple[str, ...], rows: int
) -> Any:
    """The view with None for what nobody wants, so that it is not computed."""
    camera, skip_empty = jax.tree.map(jnp.asarray, camera), bounds is not None
    view = scenes.render(model, scene, camera, rows_at_once=rows, skip_empty=skip_empty, bounds=bounds)
    return view.replace(**{field.name: None for field in dataclasses.fields(view) if field.name not in wanted})
