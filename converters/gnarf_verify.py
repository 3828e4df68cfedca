"""Ours against recordings of GNARF: where points go by the paper's rule and by the code's, and what rays see.

Every stage starts from recorded inputs, as in `verify`. Where rounding decides between two faces, points are left out;
of whole images the rays that are off are named, and left out if one of their samples is such a point and they are few.
The original's limits of rays know but the eight nearest layers of a pixel: rays with more are named, and left out.
"""

import os
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from dnerf_jax.models import articulated, marching
from dnerf_jax.models.articulated import Body
from dnerf_jax.models.generator import decode
from dnerf_jax.ops import articulation, cameras, volume
from dnerf_jax.ops.cameras import Camera, Rays
from dnerf_jax.ops.messages import some

from . import gnarf_golden
from .comparison import Line, largest, off, share
from .gnarf_golden import MARGINS, Deformation, Rendering
from .refusals import naming

SURFACE, ANYWHERE, MOST = 1e-6, 2e-5, 5e-6  # world units: of points beside the surface, of all others, of 99 % of them
_FEW = 2e-3  # share of what may differ because rounding decides
_TIES = 0.01  # share of the rays of images that may be left out because it does
_ROUNDED = 6e-7  # world units by which areas of the original round, to be left out
_FINER, _LAYERS = 8, 8  # the original's limits: so many times as many rows of rays, so many layers of each
# Of renderings: how far a stage may be off, in world units, densities, or parts of [-1, 1], and of what per cent of it.
_STAGES = (
    ("hit", _FEW, None),
    ("near", 1e-5, 99.5),
    ("far", 1e-5, 99.5),
    ("depths_coarse", 1e-5, 100),
    ("points", ANYWHERE, 100),
    ("points", MOST, 99),
    ("depths_all", 1e-5, 100),
    ("sigma_all", 1e-3, 100),
    ("weights", 1e-5, 100),
    ("depths_fine", 2e-5, 99.5),
    ("ties", _TIES, None),
    ("features", 1e-3, 100),
    ("weight_sum", 1e-3, 100),
    ("marched_distance", 1e-4, 100),
)
_march = jax.jit(marching.march)
_ray_limits = jax.jit(articulated.ray_limits)
_Stages = dict[str, np.ndarray]


def verify(path: str | os.PathLike) -> list[Line]:
    """A recorded case's comparison. Raises ValueError as `gnarf_golden.load`."""
    recorded = gnarf_golden.load(path)
    with jax.default_matmul_precision("highest"), naming(path):
        return deformation(recorded) if isinstance(recorded, Deformation) else rendering(recorded)


def deformation(recorded: Deformation) -> list[Line]:
    """Faces, and canonical points, by the rules "vertex" (the released code's) and "triangle" (the paper's)."""
    arrays, posed = recorded.arrays, jnp.asarray(recorded.posed)
    points, faces = jnp.asarray(arrays["points"]), jnp.asarray(arrays["faces"])
    neighbours = articulation.incident(arrays["faces"], len(posed))
    others = [set(a) != set(b) for a, b in zip(neighbours.tolist(), arrays["v_faces"].tolist(), strict=True)]
    template, bound = arrays["template_vertices"], (arrays["simple_vertices"], arrays["simple_face_id"])
    carried = [_moved("vertex", *bound, template[0], there, arrays["template_faces"]) for there in template]
    steepest = articulation.steepest_face(points, posed, faces, neighbours)
    nearest = articulation.nearest_face(points, posed, faces)
    # Without offsets, what a point is carried to on the same surface is the point of its face that is closest to it.
    flat = jnp.zeros((len(posed), 3, 3))
    closest = _moved("blend", points, nearest.face, posed, posed, faces, turned=flat)
    sure, unsound = recorded.sure, rounded(recorded)
    vertices = np.linalg.norm(np.float64(arrays["points"]) - recorded.posed[arrays["nearest_vertex"]], axis=-1)
    note = (
        f"left out are {np.sum(~sure)} of {len(sure)} points, not farther than {MARGINS[0]:g} from a tie of vertices or"
    )
    note += f" {MARGINS[1]:g} from one of faces"
    far = f"left out are {np.sum(sure & unsound)} points besides, which the original rounds" if unsound.any() else ""
    return [
        share("v_faces", np.array(others), 0.0),
        largest("simple_posed", off(np.stack(carried) * recorded.scale, arrays["simple_posed"]), SURFACE),
        largest("vertex/distance", off(steepest.distance, vertices), SURFACE),
        share("vertex/face", np.asarray(steepest.face)[sure] != arrays["face"][sure], _FEW, note=note),
        *_carried("vertex", recorded, arrays["face"], arrays["canonical"], sure & ~unsound, note=far),
        largest("triangle/distance", off(nearest.distance, arrays["true_distance"]), SURFACE),
        largest("triangle/closest", _farthest(closest, arrays["true_closest"]), SURFACE, percent=99.9),
        *_carried("triangle", recorded, arrays["true_face"], arrays["true_canonical"], np.ones_like(sure)),
    ]


def _carried(
    rule: articulation.Rule,
    recorded: Deformation,
    face: np.ndarray,
    expected: np.ndarray,
    sure: np.ndarray,
    note: str = "",
) -> list[Line]:
    """The lines of canonical points, beside the given faces, of the sure ones."""
    arrays = recorded.arrays
    moved = _moved(rule, arrays["points"], face, recorded.posed, recorded.canonical, arrays["faces"])
    distances = _farthest(moved, expected)
    near, rest = distances[sure & recorded.near], distances[sure & ~recorded.near]
    return [
        largest(f"{rule}/near", near, SURFACE),
        largest(f"{rule}/box", rest, ANYWHERE, note=note),
        largest(f"{rule}/box", rest, MOST, percent=99),
    ]


def rounded(recorded: Deformation) -> np.ndarray:
    """Points (N,) that the original's float32 carries badly, where ours, of differences, does not.

    It takes areas about a point's foot, and rounds them by the square of how far that lies from the face, whose own may
    be far smaller; and their signs against the world's origin, through which the face's plane may pass.
    """
    points, faces = np.float64(recorded.arrays["points"]), recorded.arrays["faces"][recorded.arrays["face"]]
    here, there = np.float64(recorded.posed)[faces], np.float64(recorded.canonical)[faces]
    cross = np.cross(here[:, 1] - here[:, 0], here[:, 2] - here[:, 0])
    area = np.maximum(np.linalg.norm(cross, axis=-1), 1e-30)
    normal = cross / area[:, None]
    feet = points - np.sum((points - here[:, 0]) * normal, axis=-1, keepdims=True) * normal
    away = np.linalg.norm(here - feet[:, None], axis=-1).max(axis=-1)
    edge = np.linalg.norm(there - np.roll(there, 1, axis=1), axis=-1).max(axis=-1)
    origin = np.abs(np.sum(here[:, 0] * normal, axis=-1))
    return (np.finfo(np.float32).eps / 2 * away**2 / area * edge > _ROUNDED) | (origin < SURFACE)


def _moved(rule, points, face, here, there, faces, **options) -> np.ndarray:
    arguments = (jnp.asarray(x) for x in (points, face, here, there, faces))
    return np.asarray(articulation.to_canonical(rule, *arguments, **options))


def _farthest(output: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The largest difference of each point's coordinates."""
    return off(output, reference).max(axis=-1)


def rendering(recorded: Rendering) -> list[Line]:
    """Limits, depths, canonical points, densities and weights of rays, whole images, and the canonical view."""
    lines = []
    for prefix in ("", "canonical_"):
        images = [_view(recorded, i, prefix) for i in range(len(recorded.planes))]
        for name, tolerance, percent in _STAGES:
            if name in images[0]:
                every = np.concatenate([image[name].ravel() for image in images])
                note = _left_out([image.get(f"{name}_left_out", ()) for image in images])
                if percent is None:
                    lines.append(share(prefix + name, every, tolerance, note=note))
                else:
                    lines.append(largest(prefix + name, every, tolerance, percent=percent, note=note))
    return lines


def _left_out(images: Sequence[Sequence[int]]) -> str:
    """Words for the rays of each image, by their numbers, that were left out."""
    named = [f"of image {i} rays {some(rays, 20)}" for i, rays in enumerate(images) if len(rays)]
    return "left out are " + "; ".join(named) if named else ""


def _view(recorded: Rendering, i: int, prefix: str) -> _Stages:
    """How far each stage of an image is off, and NAME_left_out, the rays that are left out of it."""
    arrays, size = recorded.arrays, recorded.resolution
    there = jnp.asarray(arrays["canonical_vertices"])
    # The canonical view's body is in its canonical pose: points stay where they are.
    posed, hull = (there, arrays["canonical_clip_vertices"])
    if not prefix:
        posed, hull = jnp.asarray(arrays["posed_vertices"][i]), arrays["clip_vertices"][i]
    still, faces = jnp.zeros((len(there), 3, 3)), jnp.asarray(arrays["faces"])
    body = Body(posed, there, still, jnp.asarray(hull), faces, jnp.asarray(recorded.neighbours))
    camera = Camera(*(jnp.asarray(arrays[name][i]) for name in (f"{prefix}cam2world", "intrinsics")))
    rays = cameras.rays(camera, size)
    limits = arrays[f"{prefix}near"][i], arrays[f"{prefix}far"][i]
    stages = _limits(camera, body, size, limits)
    if not prefix:
        stages |= _along(recorded, i, body, rays)
    return stages | _image(recorded, i, prefix, body, rays)


def _limits(camera: Camera, body: Body, size: int, limits: tuple[np.ndarray, np.ndarray]) -> _Stages:
    """Where rays enter and leave the hull: the outermost of finer rays through a pixel, which have one focal length."""
    focal = camera.intrinsics[1, 1]
    finer = Camera(camera.cam2world, camera.intrinsics.at[0, 0].set(focal).at[0, 1].set(0.0))
    near, far, met = _ray_limits(body, cameras.rays(finer, _FINER * size))
    per_distance = cameras.z_per_distance(finer, _FINER * size), cameras.z_per_distance(camera, size)
    z, own = (np.asarray(x).reshape(-1) for x in per_distance)
    near, far, met = (np.asarray(x).reshape(-1) for x in (near, far, met))
    first = _blocks(np.where(met, near * z, np.inf), size).min(axis=-1) / own
    last = _blocks(np.where(met, far * z, -np.inf), size).max(axis=-1) / own
    hit = limits[0] < limits[1]
    both = hit & (first < last)
    cut = both & (_blocks(_layers(finer, body, _FINER * size), size).max(axis=-1) > _LAYERS)
    return {
        "hit": hit != (first < last),
        "near": off(first, limits[0])[both],
        "far": off(last, limits[1])[both & ~cut],
        "far_left_out": np.flatnonzero(cut),
    }


def _blocks(finer: np.ndarray, size: int) -> np.ndarray:
    """Finer pixels as those (size * size, n) of each coarser one."""
    blocks = finer.reshape(size, _FINER, size, _FINER)
    return np.moveaxis(blocks, 1, 2).reshape(size * size, _FINER * _FINER)


def _layers(camera: Camera, body: Body, rows: int) -> np.ndarray:
    """How many faces of the hull lie over each pixel (rows, rows)."""
    places, depth = (np.asarray(x, np.float64) for x in cameras.project(camera, body.hull))
    if depth.min() <= 0:
        raise ValueError("a camera is not in front of all of the body")
    counts = np.zeros((rows, rows), np.int32)
    for corners in places[np.asarray(body.faces)] * rows - 0.5:
        (x, y), (x_end, y_end) = (
            np.clip(ends, 0, rows).astype(int) for ends in (np.ceil(corners.min(0)), np.floor(corners.max(0)) + 1)
        )
        if x < x_end and y < y_end:
            ahead = np.roll(corners, -1, axis=0) - corners
            across = np.arange(x, x_end) - corners[:, 0, None, None]
            down = np.arange(y, y_end)[:, None] - corners[:, 1, None, None]
            sides = ahead[:, 0, None, None] * down - ahead[:, 1, None, None] * across
            counts[y:y_end, x:x_end] += (sides >= 0).all(axis=0) | (sides <= 0).all(axis=0)
    return counts


def _along(recorded: Rendering, i: int, body: Body, rays: Rays) -> _Stages:
    """Every stage of some rays, each from what was recorded of the one before."""
    arrays = {name: x[i] for name, x in recorded.arrays.items() if x.shape[0] == len(recorded.planes)}
    generator, chosen = recorded.generator, arrays["rays"]
    origins, ways = (np.asarray(x).reshape(-1, 1, 3)[chosen] for x in (rays.origins, rays.directions))
    near, far = (arrays[name][chosen] for name in ("near", "far"))
    coarse, fine = (jnp.asarray(u[i].reshape(-1, u.shape[-1])[chosen]) for u in recorded.uniforms)
    depths = np.concatenate([arrays["depths_coarse"], arrays["depths_fine"]], axis=-1)
    expected = np.concatenate([arrays["canonical_coarse"], arrays["canonical_fine"]], axis=-2)
    points = origins + depths[..., None] * ways
    moved, _ = articulated.to_canonical(generator.config.articulation, body, jnp.asarray(points))
    inside = (near[:, None] <= depths) & (depths <= far[:, None])
    sure = inside & ~tied(points.reshape(-1, 3), body).reshape(inside.shape)
    raw, _ = decode(generator, jnp.asarray(recorded.planes[i]), jnp.asarray(expected.reshape(-1, 3)))
    raw = np.asarray(raw).reshape(depths.shape) - articulated.EMPTY * ~inside
    split = arrays["depths_coarse"].shape[-1]
    ordered, order = volume.merge_sorted(*(jnp.asarray(x) for x in np.split(depths, [split], axis=-1)))
    weights = volume.weights_from_density(jnp.asarray(arrays["sigma_all"]), jnp.asarray(arrays["depths_all"]))
    first = jnp.asarray(depths[:, :split])
    of_coarse = volume.weights_from_density(jnp.asarray(raw[:, :split]), first)
    return {
        "depths_coarse": off(volume.stratified_depths(jnp.asarray(near), jnp.asarray(far), coarse), first),
        "points": _farthest(moved, expected)[sure],
        "depths_all": off(ordered, arrays["depths_all"]),
        "sigma_all": off(np.take_along_axis(raw, np.asarray(order), axis=-1), arrays["sigma_all"]),
        "weights": off(weights, arrays["weights"]),
        "depths_fine": off(volume.importance_depths(first, of_coarse, fine), arrays["depths_fine"]),
    }


def _image(recorded: Rendering, i: int, prefix: str, body: Body, rays: Rays) -> _Stages:
    """The whole image, marched between the recorded limits; rays that are off because a sample ties are left out."""
    size, generator = recorded.resolution, recorded.generator
    near, far, features, opacity, distance = (
        recorded.arrays[name][i] if name in recorded.arrays else None
        for name in (f"{prefix}{name}" for name in ("near", "far", "features", "weight_sum", "marched_distance"))
    )
    hit = near < far
    limits = tuple(jnp.where(hit, x, 0.0).reshape(size, size) for x in (near, far))
    uniforms = tuple(jnp.asarray(u[i]) for u in recorded.uniforms)
    planes = jnp.asarray(recorded.planes[i])
    samples = _march(generator, planes, rays, uniforms=uniforms, limits=limits, body=body)
    ours = np.moveaxis(np.asarray(marching.feature_image(generator.config, samples)), -1, 0)[: len(features)]
    found = {
        "features": off(ours, features).max(axis=0).ravel(),
        "weight_sum": off(samples.opacity, opacity[0]).ravel(),
    }
    if distance is not None:
        solid = opacity[0] > 0.5
        found["marched_distance"] = np.where(solid, off(samples.distance, distance[0]), 0.0).ravel()
    tolerances = {name: tolerance for name, tolerance, _ in _STAGES}
    wrong = np.any([x > tolerances[name] for name, x in found.items()], axis=0)
    ties = np.zeros_like(wrong)
    if not prefix and 0 < wrong.sum() <= _TIES * hit.sum():
        origins, ways, depths = (
            np.asarray(x).reshape(size * size, -1, n)[wrong]
            for x, n in ((rays.origins, 3), (rays.directions, 3), (samples.depths, 1))
        )
        points = origins + depths * ways
        ties[wrong] = tied(points.reshape(-1, 3), body).reshape(points.shape[:-1]).any(axis=-1)
    kept = {name: np.where(ties, 0.0, x) for name, x in found.items()}
    return kept if prefix else kept | {"ties": ties[hit], "features_left_out": np.flatnonzero(ties)}


def tied(points: np.ndarray, body: Body) -> np.ndarray:
    """Whether points (N, 3) are as near to a tie of two vertices or two faces as MARGINS, in float64."""
    posed, faces = np.asarray(body.posed, np.float64), np.asarray(body.faces)
    neighbours, a, b, c = np.asarray(body.neighbours), *np.moveaxis(posed[faces], 1, 0)
    normals = np.cross(b - a, c - a)
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-30)
    found = []
    for part in np.array_split(points.astype(np.float64), -(-len(points) // 256)):
        distances = np.linalg.norm(part[:, None] - posed, axis=-1)
        nearest, between = distances.argmin(axis=-1), np.diff(np.partition(distances, 1, axis=-1)[:, :2])[:, 0]
        candidates, ways = neighbours[nearest], part - posed[nearest]
        ways /= np.maximum(np.linalg.norm(ways, axis=-1, keepdims=True), 1e-8)
        slopes = np.abs(np.einsum("ni,nki->nk", ways, normals[candidates]))
        best = slopes.argmax(axis=-1)[:, None]
        others = np.where(candidates == np.take_along_axis(candidates, best, axis=-1), -np.inf, slopes)
        found.append((between <= MARGINS[0]) | (slopes.max(axis=-1) - others.max(axis=-1) <= MARGINS[1]))
    return np.concatenate(found)
