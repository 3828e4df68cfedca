"""What is in the files of a view, or of an object: whether it is what the plan and the sidecar say.

Each look at a sample raises ValueError, without the file's name, at the first thing that is wrong with it.
"""

import array
import hashlib
import io
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from PIL import Image

from dnerf_jax.factory import draws, record
from dnerf_jax.factory.description import Description
from dnerf_jax.factory.plan import Shard
from dnerf_jax.io import files, ply
from dnerf_jax.ops import checks
from dnerf_jax.ops.cameras import Camera
from dnerf_jax.ops.labels import LabelMap

Draw = Callable[[int, int], tuple[np.ndarray, Camera]]  # z and cameras (V,) of an identity and an attempt

TOLERANCE = 1e-5  # of latents and cameras, which other stacks draw with another last bit
_MATRICES = ("cam2world", "intrinsics")


class Contents:
    """Looks at samples one after the other, and keeps what has to be the same, or different, in all.

    read, label_map: of the dataset. drawn: what its plan draws, or None: latents and cameras are only looked at.
    """

    def __init__(self, read: Description, label_map: LabelMap | None, drawn: Draw | None) -> None:
        self.read, self.plan, self.label_map, self.drawn = read, read.plan, label_map, drawn
        self._latents, self._length = array.array("Q"), 0  # a hash of every identity's z, and how long these are
        self._z, self._expected = np.zeros(0), None  # of the identity whose views are being looked at
        self._frames: tuple[int | None, ...] = ()

    def pixels(self, sample: Mapping[str, Any], members: Mapping[str, bytes]) -> None:
        """The numbers of a view have the sidecar's hashes and the right shapes, and a mask its areas and colours."""
        side = self.read.image_resolution
        for name, form in self.read.forms.items():
            try:
                numbers = record.decode(form, members[form.suffix])
                if numbers.shape[:2] != (side, side) or numbers.ndim > 3:
                    raise ValueError(f"its numbers are {numbers.shape}, expected {side} x {side} pixels")
                if (found := record.pixel_hash(numbers)) != sample["pixels"][name]:
                    raise ValueError(f"its numbers have the hash {found}, its sidecar says {sample['pixels'][name]}")
                if name == "mask" and self.label_map is not None:
                    self._mask(numbers, members[form.suffix], sample, self.label_map)
            except ValueError as error:
                raise ValueError(f"{form.suffix}: {error}") from error

    def _mask(self, mask: np.ndarray, data: bytes, sample: Mapping[str, Any], label_map: LabelMap) -> None:
        counts = label_map.counts(mask).tolist()
        if counts != sample.get("area"):
            raise ValueError(f"its classes have the pixels {counts}, its sidecar says {sample.get('area')!r:.200}")
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            colors = np.reshape(image.getpalette() or (), (-1, 3))[: label_map.num_classes]
        if not np.array_equal(colors, label_map.colors):
            raise ValueError("its palette has other colours than labelmap.json: one of them was changed")

    def own(self, shard: Shard, sample: Mapping[str, Any], members: Mapping[str, bytes]) -> None:
        """A view's JSON is of this view, its camera sane, latent and pose the identity's, all as the plan draws it."""
        own = files.parse_json(members[record.JSON].decode())
        view, first = sample["view"], sample["view"] == 0
        if first:
            self._frames = self._frames_of(sample, own.get("pose"))
        try:
            with np.errstate(over="ignore"):
                z, *matrices = (np.asarray(own.get(name), np.float32) for name in ("z", *_MATRICES))
            numbers = sample["identity"], view, sample["attempt"]
            expected = record.describe(*numbers, shard.split, z, *matrices, self._frames[view])
        except TypeError as error:
            raise ValueError(f"json: {error}") from error
        for name in sorted(own.keys() ^ expected.keys()) or (name for name in own if own[name] != expected[name]):
            raise ValueError(f"json: {name} is {own.get(name)!r:.50}, expected {expected.get(name)!r:.50}")
        checks.matrices(*matrices)
        checks.pose(matrices[0])
        checks.intrinsics(matrices[1])
        if first:
            self._length = self._length or len(z)
            self._latents.append(int.from_bytes(hashlib.sha256(z.tobytes()).digest()[:8]))
            self._z, self._expected = z, self.drawn and self.drawn(sample["identity"], sample["attempt"])
        if z.shape != (self._length,) or not np.array_equal(z, self._z):
            raise ValueError("json: z is not that of the identity's other views, or not as long as the others")
        if self._expected is not None:
            camera = self._expected[1][view]
            drawn = {"z": self._expected[0], "cam2world": camera.cam2world, "intrinsics": camera.intrinsics}
            for name, value in zip(drawn, (z, *matrices), strict=True):
                if value.shape != drawn[name].shape or np.abs(value - drawn[name]).max() > TOLERANCE:
                    raise ValueError(
                        f"json: {name} is not what the plan draws for this identity and attempt: it was changed, or "
                        "the plan's seed or viewpoints in dataset.json were"
                    )

    def _frames_of(self, sample: Mapping[str, Any], said: Any) -> tuple[int | None, ...]:
        """The frames that an identity's views have to be in, the first of which says this."""
        count, views = self.read.num_poses, self.plan.views_per_identity
        if not count:
            return (None,) * views
        if self.drawn is not None or self.plan.poses.order == "frames":
            return draws.draw_frames(self.plan, count, sample["identity"], sample["attempt"])
        return (said if type(said) is int and 0 <= said < count else -1,) * views

    def object(self, kind: str, sample: Mapping[str, Any], data: bytes) -> None:
        """An identity's cloud or mesh has the sidecar's hash, its points their number, and the labels their map."""
        if hashlib.sha256(data).hexdigest()[:16] != sample["pixels"][kind]:
            raise ValueError(f"its hash is not what its sidecar says, {sample['pixels'][kind]}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of columns that are left out
            made = ply.decode_cloud(data) if kind == "points" else ply.decode_mesh(data)
        if kind == "points" and self.plan.cloud.num_points not in (0, len(made)):
            raise ValueError(f"the cloud has {len(made):,} points, the plan says {self.plan.cloud.num_points:,}")
        if self.label_map is not None and made.label_map != self.label_map:
            raise ValueError("its comments name other classes than labelmap.json: one of them was changed")

    def repeated(self) -> int:
        """How many latents occur in several identities."""
        _, counts = np.unique(np.frombuffer(self._latents, np.uint64), return_counts=True)
        return int((counts > 1).sum())
