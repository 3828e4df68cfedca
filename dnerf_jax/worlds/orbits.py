"""Cameras of the worlds, in NumPy: the orbit about the origin, and the rays through an image's pixels.

The world frame, the OpenCV axes of cam2world and the intrinsics divided by the image size are those of
`dnerf_jax.ops.cameras`; they are repeated here so that a world needs neither JAX nor Flax.
"""

import numpy as np

RADIUS, FOCAL = 2.7, 4.2647
YAW, PITCH = (-30.0, 30.0), (-8.0, 12.0)  # degrees


def orbit(yaw: float, pitch: float, focal: float = FOCAL) -> tuple[np.ndarray, np.ndarray]:
    """Camera on the orbit about the origin, (cam2world (4, 4), intrinsics (3, 3)) float32; degrees.

    Yaw > 0 moves it to the subject's left (+x), pitch > 0 up.
    """
    y, p = np.radians([yaw, pitch])
    backward = np.array([np.sin(y) * np.cos(p), np.sin(p), np.cos(y) * np.cos(p)])
    right = np.array([np.cos(y), 0.0, -np.sin(y)])
    cam2world = np.eye(4)
    cam2world[:3] = np.stack([right, -np.cross(backward, right), -backward, RADIUS * backward], axis=1)
    intrinsics = np.array([[focal, 0, 0.5], [0, focal, 0.5], [0, 0, 1]])
    return cam2world.astype(np.float32), intrinsics.astype(np.float32)


def sample_camera(
    rng: np.random.Generator,
    yaw: tuple[float, float] = YAW,
    pitch: tuple[float, float] = PITCH,
    focal: float = FOCAL,
) -> tuple[np.ndarray, np.ndarray]:
    """Draws a camera of the orbit uniformly from ranges of yaw and pitch in degrees."""
    return orbit(rng.uniform(*yaw), rng.uniform(*pitch), focal)


def ray_directions(cam2world: np.ndarray, intrinsics: np.ndarray, resolution: int) -> np.ndarray:
    """Directions (resolution^2, 3) float32 in the world frame, of length 1 along the optical axis, row by row."""
    centre = (np.arange(resolution) + 0.5) / resolution
    per_pixel = cam2world[:3, :3] @ np.linalg.inv(intrinsics)  # columns: along u, along v, at the image's corner
    along_u, along_v, corner = per_pixel.T
    directions = (centre[:, None] * along_v + corner).astype(np.float32)[:, None]
    return (directions + (centre[:, None] * along_u).astype(np.float32)).reshape(-1, 3)
