"""Datasets of balls, seen exactly from cameras of all attitudes: what exports are compared with."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ball import LABELS, ball
from flax import struct

from dnerf_jax.factory import description, record, writing
from dnerf_jax.factory.plan import Cloud, Plan, shards
from dnerf_jax.factory.render import Rendered
from dnerf_jax.io import ply
from dnerf_jax.models.generator import RenderingConfig
from dnerf_jax.ops.batched import Batched
from dnerf_jax.ops.cameras import Camera
from dnerf_jax.ops.meshes import Mesh

PLAN = Plan(
    num_identities=4,
    views_per_identity=3,
    splits=(("train", 2), ("validation", 1), ("test", 1)),
    modalities=("image", "mask", "depth_z", "points", "mesh"),
    shard_size=1,
    cloud=Cloud(num_points=150, voxel_size=0.01),
)
SIZE = 64
CORNERS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32)
_encode_object = writing.encode_object


@struct.dataclass(repr=False)
class Views(Batched):
    """What a dataset has of views (V)."""

    image: np.ndarray
    mask: np.ndarray
    depth_z: np.ndarray
    opacity: np.ndarray
    normal: np.ndarray | None
    camera: Camera

    @property
    def batch_shape(self):
        return self.opacity.shape[:-2]


def turned(identity: int) -> np.ndarray:
    """Where the ball of an identity is: a rigid transform (4, 4)."""
    draws = np.random.default_rng(identity)
    pose = np.eye(4)
    pose[:3, :3] = np.linalg.qr(draws.standard_normal((3, 3)))[0]
    pose[:3, :3] *= np.linalg.det(pose[:3, :3])
    pose[:3, 3] = 0.2 * draws.standard_normal(3)
    return pose


def views_of(identity: int) -> Views:
    """Three views of a ball with two labels, whose coloured halves are no better known by their place in the world."""
    radius, pose = 0.2 + 0.03 * identity, turned(identity)
    seen = ball((-40.0, 5.0, 30.0), radius, SIZE)
    camera = seen.camera.replace(cam2world=(pose @ seen.camera.cam2world).astype(np.float32))
    normal = (seen.points / radius) @ pose[:3, :3].T
    return Views(seen.image, seen.mask, seen.depth_z, seen.opacity, normal, camera)


def mesh_of(identity: int) -> Mesh:
    """A tetrahedron."""
    colors = np.array([[250, 0, identity], [0, 128, 0], [1, 2, 3], [255, 255, 255]], np.uint8)
    return Mesh(CORNERS * (1 + identity), FACES, colors, np.array([1, 2, 2, identity % 2], np.uint8), LABELS)


def encode_object(kind: str, plan: Plan, model: SimpleNamespace, rendered: Rendered) -> bytes:
    """The file of an identity's cloud, or of its mesh, for which a model of balls has no density."""
    return ply.encode_mesh(rendered.scene) if kind == "mesh" else _encode_object(kind, plan, model, rendered)


@pytest.fixture(scope="session")
def make_balls(tmp_path_factory: pytest.TempPathFactory) -> Callable:
    """Makes a dataset: make_balls(edit, **fields of the plan), where edit changes the views (V) of an identity."""

    def make(edit: Callable[[Views], Views] = lambda views: views, **changes) -> Path:
        plan, out = dataclasses.replace(PLAN, **changes), tmp_path_factory.mktemp("balls") / "set"
        config = SimpleNamespace(rendering=RenderingConfig(), image_resolution=SIZE)
        model = SimpleNamespace(generator=SimpleNamespace(config=config), label_map=LABELS)
        origin = {"fingerprint": "a ball", "semantic_fingerprint": None}
        description.write(plan, config, LABELS, origin, out, begun=False)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(writing, "encode_object", encode_object)
            for shard in shards(plan):
                made = [(Rendered(i, 0, np.zeros(2), edit(views_of(i)), mesh_of(i)), []) for i in shard.identities]
                writing.write(plan, model, record.forms(plan, config), shard, made, out, {"fingerprint": "none"})
        return out

    return make


@pytest.fixture(scope="session")
def balls(make_balls: Callable) -> Path:
    """The folder of a dataset of four balls in three views each. Nobody changes it."""
    return make_balls()
