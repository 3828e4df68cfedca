"""Hair of the heads world: a shell over the scalp, and a curtain that hangs from its rim.

The shell is a grid over the canonical head: A azimuths (0 is the front, +90 degrees the subject's left) by E
elevations from the crown down to the lowest hairline. Every grid point is attached to the head's surface (a
triangle and barycentric weights, found once at export), so the shell follows any head without searching.
Where hair grows, the shell is lifted off the skin by its thickness; where it does not, it is sunk 4 mm under
the skin: baldness, hairline and length are all continuous because the shell only ever rises through the skin,
at its hairline first.

`length` in [0, 1]: below 0.13 a receding hairline, then short hair growing thicker, from 0.42 over the ears,
and from 0.5 the curtain grows to a bob and to long hair.
"""

import numpy as np

from dnerf_jax.worlds import meshes
from dnerf_jax.worlds.heads.table import HeadTable
from dnerf_jax.worlds.latents import smoothstep

CENTRE = np.array([0.0, 0.030, -0.064])  # canonical metres: the middle of the skull, from where the grid looks
SUNK = 0.004  # metres under the skin where no hair grows
ELEVATIONS, AZIMUTHS, CURTAIN_ROWS = 54, 144, 16
CURTAIN_FROM = 1.05  # radians of azimuth from the front: the face stays free
LONGEST = 0.25  # metres of curtain

# Elevation in degrees at azimuths (degrees, either side) of the grid's rim, of short hair's and of long
# hair's hairline beside and behind the face; in front the attribute `hairline` decides.
_AZIMUTH = (0, 25, 42, 58, 72, 88, 105, 125, 180)
_RIM = (2, 2, 2, -6, -26, -28, -32, -42, -44)
_SHORT = (0, -2, -11, 8, -10, 6, -18, -38, -40)
_LONG = (0, -2, -11, 4, -36, -40, -44, -52, -54)
_IN_FRONT = (1, 1, 1, 0, 0, 0, 0, 0, 0)


def attach(canonical: np.ndarray, faces: np.ndarray, ear: np.ndarray) -> dict[str, np.ndarray]:
    """Finds where the grid touches the canonical head (V, 3): below the ears and over them; arrays of HeadTable."""
    azimuth = np.linspace(-np.pi, np.pi, AZIMUTHS, endpoint=False)
    rim = np.interp(np.abs(azimuth), np.radians(_AZIMUTH), _RIM)
    down = np.linspace(0.0, 1.0, ELEVATIONS)[:, None]
    elevation = 90.0 + (rim - 90.0) * down**0.9
    e = np.radians(elevation)
    directions = np.stack([np.sin(azimuth) * np.cos(e), np.sin(e), np.cos(azimuth) * np.cos(e)], axis=-1)
    d = directions.reshape(-1, 3)
    no_ears = faces[(ear[faces] < 0.1).all(1)]
    # From the middle outwards without the ears; from outside inwards with them.
    casts = ((no_ears, CENTRE + 0 * d, d), (faces, CENTRE + 0.4 * d, -d))
    attached_faces, weights = [], []
    for triangles, origins, towards in casts:
        mesh = meshes.structure(canonical[triangles])
        hit = mesh.run(origins.astype(np.float32), towards.astype(np.float32), output=True)
        missed = hit["primID"] < 0
        u, v = hit["u"], hit["v"]
        chosen, bary = triangles[hit["primID"]], np.stack([1 - u - v, u, v], axis=-1)
        if attached_faces:  # over the ears: below the ears where nothing was hit
            chosen[missed], bary[missed] = (
                attached_faces[0].reshape(-1, 3)[missed],
                weights[0].reshape(-1, 3)[missed],
            )
        elif missed.any():  # through the hole the ear leaves: the nearest point of its rim
            points = CENTRE + 0.075 * d[missed]
            vertices = np.unique(no_ears)
            nearest = vertices[((points[:, None] - canonical[vertices]) ** 2).sum(-1).argmin(1)]
            chosen[missed], bary[missed] = nearest[:, None], (1.0, 0.0, 0.0)
        attached_faces.append(chosen.reshape(ELEVATIONS, AZIMUTHS, 3))
        weights.append(bary.reshape(ELEVATIONS, AZIMUTHS, 3))
    return {
        "hair_face": np.stack(attached_faces).astype(np.uint16),
        "hair_weights": np.stack(weights).astype(np.float32),
        "hair_azimuth": azimuth.astype(np.float32),
        "hair_elevation": elevation.astype(np.float32),
    }


def shell(table: HeadTable, vertices: np.ndarray, a: dict[str, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Builds the hair of a head with vertices (V, 3) in metres.

    Returns vertices (H, 3), faces (G, 3), and coordinates (H, 4): sine and cosine of the azimuth, the way
    from the crown (0) over the rim (1) down the curtain, and the share of hair colour (thin hair shows skin).
    """
    azimuth, elevation, length = table.hair_azimuth, table.hair_elevation, a["hair_length"]
    turn = np.abs(azimuth)
    over_ears = float(smoothstep(length, 0.42, 0.60))
    below, over = np.einsum("leak,leakc->leac", table.hair_weights, vertices[table.hair_face])
    centre = below.mean((0, 1)) * np.float32([0, 1, 1]) + np.float32([0, -0.02, 0])
    ray = below - centre
    radius = np.linalg.norm(ray, axis=-1)
    ray, skin = ray / radius[..., None], radius.copy()
    ears = _widen(np.linalg.norm(over - centre, axis=-1)) + 0.002  # stay clear of ears that stand out
    side = smoothstep(turn, 0.75, 1.05)
    lift, tint = _lift(a, turn, azimuth, elevation, over_ears)
    grows = smoothstep(tint, 0.0, 0.5)
    radius += np.maximum(ears - radius, 0) * (over_ears * side) * grows
    lift = lift + _waves(a, azimuth, np.linspace(0, 1, ELEVATIONS)[:, None]) * tint
    smooth = radius
    for _ in range(3):
        smooth = np.maximum(_blur(smooth), smooth - 0.001)
    radius = radius + (smooth - radius) * tint + lift
    grid = centre + ray * radius[..., None]

    # Over the ears hair falls: the rows below do not go back under the wider rows above.
    spread = np.hypot(grid[..., 0], grid[..., 2] - centre[2])
    fallen = np.maximum.accumulate(spread * (1 - 0.05 * np.linspace(0, 1, len(spread)))[:, None], axis=0)
    side = smoothstep(turn, CURTAIN_FROM - 0.1, CURTAIN_FROM + 0.4)
    scale = 1 + (fallen / spread - 1) * (over_ears * side) * grows
    grid[..., 0] *= scale
    grid[..., 2] = centre[2] + (grid[..., 2] - centre[2]) * scale
    # What stands off the skin is hair, also where it spans from lifted to lifted.
    tint = np.maximum(tint, smoothstep(np.linalg.norm(grid - centre, axis=-1) - skin, 0.0, 0.002))

    hanging = LONGEST * np.clip((length - 0.5) / 0.5, 0, 1) * smoothstep(turn, CURTAIN_FROM, CURTAIN_FROM + 0.5)
    rim = grid[-1]
    outwards = (rim - centre) * [1, 0, 1]
    outwards /= np.linalg.norm(outwards, axis=1, keepdims=True)
    w = np.linspace(0, 1, CURTAIN_ROWS + 1)[1:, None]
    out = 0.015 * np.sin(2.6 * w) * hanging / LONGEST
    out = out + _waves(a, azimuth, 1 + w * hanging / 0.09) - _waves(a, azimuth, 1)
    curtain = rim + outwards * out[..., None]
    curtain[..., 1] -= hanging * w

    points = np.concatenate([grid, curtain]).reshape(-1, 3)
    rows = ELEVATIONS + CURTAIN_ROWS
    way = np.concatenate([np.linspace(0, 1, ELEVATIONS)[:, None] + 0 * turn, 1 + w * hanging / 0.09])
    tint = np.concatenate([tint, np.broadcast_to(tint[-1], (CURTAIN_ROWS, AZIMUTHS))])
    coordinates = np.stack(
        [np.broadcast_to(x, (rows, AZIMUTHS)) for x in (np.sin(azimuth), np.cos(azimuth), way, tint)], axis=-1
    ).reshape(-1, 4)
    return points.astype(np.float32), _grid_faces(rows, turn), coordinates.astype(np.float32)


def _lift(a, turn, azimuth, elevation, over_ears):
    """How far the shell stands off the skin (E, A) in metres, and the share of hair colour there."""
    shifts = np.radians((-12, -8, -4, 0, 4, 8, 12))

    def around(values):  # by azimuth, its corners rounded
        return np.mean([np.interp(np.abs(turn + shift), np.radians(_AZIMUTH), values) for shift in shifts], axis=0)

    in_front = around(_IN_FRONT)
    # A fringe grows down the forehead, on one side of the parting further than on the other.
    fringe = np.clip(a["fringe"], 0, 1) * smoothstep(a["hair_length"], 0.2, 0.4)
    sweep = 1 - 0.25 * smoothstep(np.sin(azimuth) * np.sign(a["hair_part"]), -0.4, 0.4)
    front = a["hairline"] + (np.minimum(a["hairline"], 9.0) - a["hairline"]) * fringe * sweep
    hairline = in_front * front + around(_SHORT) * (1 - over_ears) + around(_LONG) * over_ears
    above = elevation - hairline  # degrees

    # Hair recedes from the forehead and the crown before the sides: each place has its own length at which it grows.
    length = a["hair_length"]
    e = np.radians(elevation)
    x, forward = 0.09 * np.sin(azimuth) * np.cos(e), np.cos(azimuth) * np.cos(e)
    late = smoothstep(0.6 * forward + 0.8 * np.sin(e), 0.40, 0.95)
    grown = smoothstep(length / 0.09 - late, 0.0, 0.6)
    edge = smoothstep(above, -3.0, 7.0) * grown
    body = smoothstep(above, 0.0, 26.0) * (0.75 + 0.25 * smoothstep(np.cos(azimuth), -0.5, 0.5))
    volume = a["hair_thickness"] + 0.03 * max(a["hair_volume"], 0.0) ** 2
    thickness = 0.003 + volume * smoothstep(length, 0.05, 0.45) * (0.25 + 0.75 * body)

    # The parting: a shallow groove from the forehead to the crown, at x = hair_part.
    groove = np.exp(-(((x - a["hair_part"]) / 0.010) ** 2)) * smoothstep(forward, 0.0, 0.35)
    thickness = thickness * (1 - 0.45 * groove)
    lift = -SUNK + (SUNK + thickness) * edge
    return lift, smoothstep(lift, -0.001, 0.003) * (1 - 0.12 * groove)


def _waves(a, azimuth, way):
    """Waves of the hair (rows, A) in metres, by the azimuth and the way from the crown."""
    height = 0.006 * max(a["hair_wave"], 0.0) * smoothstep(a["hair_length"], 0.15, 0.4)
    count = 3.0 + 3.0 * a["hair_wavelength"]  # along the way from crown to rim
    strands = np.sin(9 * azimuth + 1.3 * np.sin(3 * azimuth))
    return height * smoothstep(way, 0.15, 0.5) * np.sin(2 * np.pi * count * way + 2.5 * strands)


def _blur(radius):
    """Binomial blur around the head (azimuth wraps)."""
    return sum(w * np.roll(radius, k - 2, axis=1) for k, w in enumerate((1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)))


def _widen(radius):
    """Largest radius among each grid point's neighbours."""
    rows = np.maximum(radius, np.maximum(np.roll(radius, 1, axis=1), np.roll(radius, -1, axis=1)))
    rows[1:-1] = np.maximum(rows[1:-1], np.maximum(rows[:-2], rows[2:]))
    return rows


def _grid_faces(rows, turn):
    """Triangles of the grid, outward; the curtain's where it hangs."""
    row, column = np.meshgrid(np.arange(rows - 1), np.arange(AZIMUTHS), indexing="ij")
    following = (column + 1) % AZIMUTHS
    quads = np.stack(
        [
            row * AZIMUTHS + column,
            (row + 1) * AZIMUTHS + column,
            (row + 1) * AZIMUTHS + following,
            row * AZIMUTHS + following,
        ],
        axis=-1,
    )
    keep = (row < ELEVATIONS - 1) | (turn[column] > CURTAIN_FROM)
    quads = quads[keep]
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
