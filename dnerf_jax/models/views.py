"""What is rendered, and what a camera sees of it: the two containers that everything else passes around."""

import jax
from flax import struct

from dnerf_jax.models.articulated import Body
from dnerf_jax.ops.batched import Batched
from dnerf_jax.ops.cameras import Camera


@struct.dataclass(repr=False)
class Scene(Batched):
    """A latent's tri-planes: ws (..., num_ws, w_dim), planes (..., 3, R, R, C), and the semantic branch's or None.

    body: (...) in a pose, where the generator is articulated.
    """

    ws: jax.Array
    planes: jax.Array
    semantic_planes: jax.Array | None
    body: Body | None = None

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The leading dimensions: those of the latents."""
        return self.ws.shape[:-2]


@struct.dataclass(repr=False)
class View(Batched):
    """What one camera sees. Everything but what is called raw has the final image's resolution R.

    A pixel is empty where less than half of its ray is stopped. In memory the distance to what is empty is infinite, in
    files it is 0, and nowhere NaN; its point is the camera's centre, its normal is zero.

    image: (..., R, R, 3) about [-1, 1]. image_raw: (..., r, r, 3), before super-resolution.
    logits: (..., R, R, C), mask: (..., R, R) uint8 ids, confidence: (..., R, R) the probability in (0, 1] that the
      branch gives to that id, and semantic_raw: (..., r, r, C), the raw semantic map; None without a semantic branch.
    depth_z: (..., R, R) along the optical axis and distance: (..., R, R) along the ray, in world units.
    opacity: (..., R, R) in [0, 1].
    points: (..., R, R, 3) where rays are stopped, and normal: (..., R, R, 3) unit vectors out of the surface there,
      both in the world frame.
    camera: (...).
    """

    image: jax.Array
    image_raw: jax.Array
    logits: jax.Array | None
    mask: jax.Array | None
    confidence: jax.Array | None
    semantic_raw: jax.Array | None
    depth_z: jax.Array
    distance: jax.Array
    opacity: jax.Array
    points: jax.Array
    normal: jax.Array
    camera: Camera

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The leading dimensions: those of scene and camera together."""
        return self.opacity.shape[:-2]
