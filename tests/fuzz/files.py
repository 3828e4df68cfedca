"""Every kind of file that is read, but pickles: a sound example, and the reader that meets what becomes of it.

A reader raises ValueError and names the file, or accepts what it got; anything else is a fault.
"""

import contextlib
import dataclasses
import functools
import io
import json
import pathlib
import random
from collections.abc import Callable

import jax
import numpy as np
from PIL import Image

from dnerf_jax.factory import description, provenance, record, shards, writing
from dnerf_jax.factory.checks import verification
from dnerf_jax.factory.plan import Cloud, Plan, Shard
from dnerf_jax.factory.plan import shards as shards_of
from dnerf_jax.factory.render import Rendered
from dnerf_jax.io import (
    arrays,
    camera_files,
    checkpoints,
    edit_files,
    files,
    packs,
    photos,
    ply,
    png,
    pose_files,
    scene_folders,
)
from dnerf_jax.io import encoders as encoder_files
from dnerf_jax.models import articulated, encoders, semantic
from dnerf_jax.models import generator as eg3d
from dnerf_jax.models.model import Model
from dnerf_jax.models.scenes import View
from dnerf_jax.networks.encoder import EncoderConfig
from dnerf_jax.networks.superresolution import SuperresolutionConfig
from dnerf_jax.ops.cameras import Camera
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.mask_edits import Ellipse, Grow, Move, Polygon, Scale, Swap
from dnerf_jax.ops.meshes import Mesh
from dnerf_jax.ops.points import PointCloud
from dnerf_jax.training import logs, runs
from dnerf_jax.worlds import bodies
from dnerf_jax.worlds.heads import table
from tests.fuzz import mutations

LABELS = LabelMap(("background", "skin", "hair"), ((0, 0, 0), (230, 190, 150), (130, 60, 200)))
SETTINGS = Plan(num_identities=2, views_per_identity=2)
VIEWS = ("z", "cam2world", "intrinsics", "latent_id")


@dataclasses.dataclass(frozen=True)
class Kind:
    """make: writes a sound folder; damaged: pattern of the files in it that are changed; read: the reader of a file."""

    make: Callable[[pathlib.Path], object]
    damaged: str
    read: Callable[[pathlib.Path], object]


class Example:
    """A sound folder of a kind, one file of which is changed for each case."""

    def __init__(self, name: str, folder: pathlib.Path):
        self.name, self.kind, self.folder = name, KINDS[name], folder
        self.kind.make(folder)
        self.files = sorted(path for path in folder.glob(self.kind.damaged) if path.is_file())
        self.sound = {path: path.read_bytes() for path in self.files}
        for path in self.files:
            self.kind.read(path)  # what is sound is accepted
        for path in self.files:
            path.write_bytes(b"rubbish\nrubbish")
        with contextlib.suppress(ValueError):
            self.kind.read(self.files[0])
            raise AssertionError(f"{name}: nothing reads the files that are changed")

    def prepare(self, seed: int, index: int) -> pathlib.Path:
        """Writes the case `index` of a seed; the other files are as they were."""
        rng = random.Random(f"{self.name} {seed} {index}")
        path = rng.choice(self.files)
        content = mutations.mutate(self.sound[path], path.suffix, rng)
        if self.name == "config" and rng.random() < 0.7:
            content = _signed(content)
        for other, sound in self.sound.items():
            other.write_bytes(content if other == path else sound)
        return path

    def attempt(self, path: pathlib.Path) -> None:
        """Reads the case that was written."""
        self.kind.read(path)


def _signed(content: bytes) -> bytes:
    """A config.json whose fingerprint is right, so that what is behind that check is reached too."""
    try:
        description = json.loads(content)
        description["fingerprints"]["config"] = checkpoints.config_fingerprint(description)
        return json.dumps(description).encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return content


@functools.cache
def model() -> Model:
    """A tiny generator with a branch, of random numbers."""
    config = eg3d.GeneratorConfig(
        z_dim=4,
        c_dim=0,
        w_dim=8,
        mapping_layers=1,
        plane_resolution=8,
        plane_channels=4,
        channel_base=64,
        channel_max=8,
        feature_channels=4,
        decoder_hidden=8,
        neural_rendering_resolution=8,
        superresolution=SuperresolutionConfig(input_resolution=8, widths=(4, 4), upsample=(False, False)),
        rendering=eg3d.RenderingConfig(depth_resolution=4, depth_resolution_importance=0),
    )
    made = eg3d.abstract(config)
    form = semantic.SemanticConfig(num_classes=3, hidden=4, feature_channels=4, superresolution_width=4)
    branch = semantic.abstract(form, config)
    return Model(
        dataclasses.replace(made, variables=_numbers(made.variables)),
        dataclasses.replace(branch, params=_numbers(branch.params)),
        LABELS,
        (("license", "none"),),
    )


def _numbers(tree):
    draws = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: draws.standard_normal(leaf.shape).astype(np.float32), tree)


def _views():
    draws = np.random.default_rng(1)
    cam2world = np.tile(np.diag([1.0, -1, -1, 1]).astype(np.float32), (3, 1, 1))
    cam2world[:, 2, 3] = 2.7
    intrinsics = np.tile(np.array([[4.2, 0, 0.5], [0, 4.2, 0.5], [0, 0, 1]], np.float32), (3, 1, 1))
    z = draws.standard_normal((3, 4)).astype(np.float32)
    return dict(zip(VIEWS, (z, cam2world, intrinsics, np.arange(3)), strict=True))


def _make_arrays(folder):
    np.savez(folder / "a.npz", **_views())
    np.savez_compressed(folder / "b.npz", **_views())


def _make_pack(folder):
    draws = np.random.default_rng(2)
    images = draws.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    masks = draws.integers(0, 3, (3, 8, 8), dtype=np.uint8)
    packs.save(folder, packs.Annotations(images, masks, **_views(), label_map=LABELS, fingerprint="0" * 16, name="a"))


def _make_images(folder):
    draws = np.random.default_rng(3)
    png.save_image(folder / "image.png", draws.integers(0, 256, (12, 12, 3), dtype=np.uint8))
    png.save_image(folder / "grey.png", draws.integers(0, 256, (12, 12), dtype=np.uint8))
    png.save_image(folder / "photo.jpg", draws.integers(0, 256, (12, 12, 3), dtype=np.uint8))


def _make_cloud(folder):
    draws = np.random.default_rng(4)
    points, colors = draws.uniform(-1, 1, (9, 3)), draws.integers(0, 256, (9, 3))
    ply.save_cloud(folder / "a.ply", PointCloud(points, colors, np.arange(9) % 3, LABELS))
    rows = "".join(" ".join(map(str, (*point, *color, 1))) + "\n" for point, color in zip(points, colors, strict=True))
    head = (folder / "a.ply").read_bytes().partition(b"end_header\n")[0].replace(b"binary_little_endian", b"ascii")
    (folder / "b.ply").write_bytes(head + b"end_header\n" + rows.encode())


def _make_mesh(folder):
    corners = np.eye(4, 3, dtype=np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]], np.int32)
    ids = np.array([0, 1, 2, 255], np.uint8)
    ply.save_mesh(folder / "mesh.ply", Mesh(corners, faces, np.full((4, 3), 9, np.uint8), ids, LABELS))


def _make_metrics(folder):
    lines = [json.dumps({"step": step, "loss": 1 / step, "psnr": None}) for step in range(1, 6)]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")


def _make_run(folder):
    (folder / runs.CHECKPOINTS / "1").mkdir(parents=True)  # settings of a run that made nothing are not read
    _remember(folder / runs.SETTINGS)


def _remember(path):
    runs.remember(path.parent, SETTINGS, inputs={"generator": "0" * 16})


def _make_dataset(folder):
    config, origin = model().generator.config, provenance.origin(model())
    description.write(SETTINGS, config, LABELS, origin, folder, begun=False)


def _make_sidecar(folder):
    shard, tar = Shard("train", 0, (0,)), shards.Tar(io.BytesIO())
    samples = [{"key": "00000000_00", "members": {"json": tar.add("00000000_00.json", b"{}")}}]
    files.write_text(shards.sidecar_path(folder, shard.name), shards.sidecar_text(shard, tar, samples, [], {}))


def _make_shards(folder):
    """A dataset of random numbers, two identities of two views, all in one shard."""
    draws, labelled = np.random.default_rng(6), model()
    names = ("image", "mask", "depth_z", "normal", "confidence", "points")
    plan = Plan(0, 2, 2, splits=(("train", 1),), modalities=names, cloud=Cloud(9))
    config, shard, encoded = labelled.generator.config, next(shards_of(plan)), []
    description.write(plan, config, LABELS, provenance.origin(labelled), folder, begun=False)
    for identity in shard.identities:
        numbers = {"image": draws.uniform(-1, 1, (2, 8, 8, 3)), "mask": draws.integers(0, 3, (2, 8, 8), np.uint8)}
        numbers |= {name: draws.uniform(0, 1, (2, 8, 8)) for name in ("depth_z", "confidence")}
        numbers["normal"] = draws.uniform(-1, 1, (2, 8, 8, 3))
        rest = dict.fromkeys({field.name for field in dataclasses.fields(View)} - numbers.keys())
        rest["camera"] = Camera(*(_views()[name][:2] for name in ("cam2world", "intrinsics")))
        rest["opacity"] = np.ones((2, 8, 8))
        rendered = Rendered(identity, 0, draws.standard_normal(4), View(**rest | numbers), None)
        views = [writing.encode_view(plan, labelled, record.forms(plan, config), shard, rendered, v) for v in (0, 1)]
        cloud = PointCloud(draws.uniform(-1, 1, (9, 3)), draws.integers(0, 256, (9, 3)), np.arange(9) % 3, LABELS)
        objects = {"points": writing.object_sample("points", identity, 0, ply.encode_cloud(cloud))}
        encoded.append(writing.Encoded(identity, views, objects, []))
    writing.write_encoded(plan, shard, encoded, folder, {"fingerprint": "0" * 16})


def _verify(path):
    findings = verification.Findings()
    verification.check(next(folder for folder in path.parents if (folder / description.NAME).exists()), findings)
    if findings.total:
        raise ValueError(str(findings.listed[0]))


def _read_sidecar(path):
    shards.read_head(path.parent.parent, "train-000000")
    shards.read_sidecar(path.parent.parent, "train-000000")


def _make_npy(folder):
    np.save(folder / "latent.npy", _views()["z"])


def _make_table(folder):
    (folder / "heads.npz").write_bytes(table.PATH.read_bytes())


def _make_checkpoint(folder):
    checkpoints.save(folder, model())


def _make_photos(folder):
    draws, exif = np.random.default_rng(7), Image.Exif()
    square = draws.integers(0, 256, (40, 40, 4), dtype=np.uint8)
    Image.fromarray(square[..., :3]).save(folder / "plain.png")
    Image.fromarray(square).save(folder / "cut.png")
    Image.fromarray(square[..., 0].astype(np.uint16) * 257).save(folder / "deep.png")
    exif[274] = 6
    Image.fromarray(square[..., :3]).save(folder / "turned.jpg", exif=exif)


def _make_masks(folder):
    ids = np.random.default_rng(8).integers(0, 3, (24, 24), dtype=np.uint8)
    png.save_mask(folder / "ids.png", ids, LABELS)
    Image.fromarray(LABELS.palette[ids]).save(folder / "colors.png")


def _make_cameras(folder):
    cam2world, intrinsics = (_views()[name].tolist() for name in ("cam2world", "intrinsics"))
    pairs = [{"cam2world": a, "intrinsics": b} for a, b in zip(cam2world, intrinsics, strict=True)]
    numbers = [np.concatenate([np.ravel(a), np.ravel(b)]).tolist() for a, b in zip(cam2world, intrinsics, strict=True)]
    frames = [{"file_path": f"{i}.png", "transform_matrix": pose} for i, pose in enumerate(cam2world)]
    files.write_json(folder / "one.json", pairs[0])
    files.write_json(folder / "named.json", {"a": pairs[0], "b": pairs[1]})
    files.write_json(folder / "eg3d.json", numbers)
    files.write_json(folder / "labels.json", {"labels": [[f"{i}.png", row] for i, row in enumerate(numbers)]})
    files.write_json(
        folder / "transforms.json", {"fl_x": 80, "fl_y": 80, "cx": 10, "cy": 9, "w": 20, "h": 18, "frames": frames}
    )


def _make_edits(folder):
    every = (Grow("hair", 0.1, only_over=("skin",), towards="down"), Move("skin", 0.1, -0.1), Scale("hair", 1.0, 2.0))
    shapes = (
        Swap("hair", "skin"),
        Polygon("hair", ((0.1, 0.1), (0.2, 0.1), (0.2, 0.2))),
        Ellipse("skin", (0.5, 0.5), 0.1, 0.05),
    )
    files.write_json(folder / "edits.json", edit_files.to_data((*every, *shapes)))


def _make_scene(folder):
    checkpoints.save(folder / "checkpoint", model())
    config, draws = model().generator.config, np.random.default_rng(9)
    ws = draws.standard_normal((config.num_ws, config.w_dim))
    camera = Camera(*(_views()[name] for name in ("cam2world", "intrinsics")))
    options = {"checkpoint": folder / "checkpoint", "z": draws.standard_normal(config.z_dim), "info": {"of": "fuzz"}}
    scene_folders.save_scene(folder / "scene", model(), ws, camera, **options)


def _make_encoder(folder):
    config = EncoderConfig(resolution=16, widths=(3, 3, 3, 3), blocks=1, hidden=4, z_dim=4)
    template = jax.eval_shape(lambda: encoders.init(config, jax.random.key(0)))
    encoder = encoders.TrainedEncoder(config, _numbers(template), "0" * 16)
    encoder_files.save(folder / "encoder", encoder, dtype="float16")


def _make_motions(folder):
    config, draws = bodies.articulation(), np.random.default_rng(10)
    bones = {"upperarm01.L": 0.3 * draws.standard_normal((3, 3)), "head": (0, 0.2, 0)}
    pose_files.save(folder / "nod.json", config, articulated.turned(config, bones), 30)
    joints, text = ("Hips", "Spine", "LeftArm", "LeftForeArm", "LeftHand"), "HIERARCHY\n"
    for number, joint in enumerate(joints):
        kind = "JOINT" if number else "ROOT"
        channels = "3 Zrotation Xrotation Yrotation" if number else "4 Xposition Zrotation Xrotation Yrotation"
        text += f"{kind} {joint}\n{{ OFFSET 1 {number} 0\nCHANNELS {channels}\n"
    text += "End Site\n{ OFFSET 1 0 0 }\n" + "}\n" * len(joints) + "MOTION\nFrames: 2\nFrame Time: 0.04\n"
    lines = (" ".join(map(str, row)) for row in draws.integers(-40, 40, (2, 1 + 3 * len(joints))))
    (folder / "wave.bvh").write_text(text + "\n".join(lines) + "\n")


def _read_motion(path):
    template = {name: array for name, array in bodies.template().items() if name != "faces"}
    pose_files.load(path, bodies.articulation(), template)


def _load_pack(path):
    packs.load(path.parent if path.parent.name not in ("images", "masks") else path.parent.parent)


def _load_checkpoint(path):
    folder = next(parent for parent in path.parents if (parent / "config.json").exists())
    checkpoints.load(folder)


KINDS = {
    "arrays": Kind(_make_arrays, "*.npz", lambda path: arrays.load_arrays(path, VIEWS)),
    "array": Kind(_make_npy, "*.npy", arrays.load_array),
    "table": Kind(_make_table, "*.npz", table.load.__wrapped__),
    "pack": Kind(_make_pack, "**/*", _load_pack),
    "image": Kind(_make_images, "image.png", png.load_image),
    "picture": Kind(_make_images, "*", functools.partial(png.read_picture, white=False)),
    "mask": Kind(_make_pack, "masks/0000.png", functools.partial(png.load_mask, label_map=LABELS)),
    "labelmap": Kind(_make_pack, "labelmap.json", png.load_label_map),
    "cloud": Kind(_make_cloud, "*.ply", ply.load_cloud),
    "mesh": Kind(_make_mesh, "*.ply", ply.load_mesh),
    "metrics": Kind(_make_metrics, "metrics.jsonl", logs.read_metrics),
    "settings": Kind(_make_run, runs.SETTINGS, _remember),
    "dataset": Kind(_make_dataset, description.NAME, lambda path: description.read(path.parent)),
    "sidecar": Kind(_make_sidecar, "data/*.json", _read_sidecar),
    "shards": Kind(_make_shards, "**/*", _verify),
    "photo": Kind(_make_photos, "*", functools.partial(photos.read_photo, resolution=32, white=True, crop="centre")),
    "painted": Kind(_make_masks, "*.png", functools.partial(photos.read_mask, label_map=LABELS, resolution=16)),
    "cameras": Kind(_make_cameras, "*.json", functools.partial(camera_files.read_cameras, crop="centre")),
    "edits": Kind(_make_edits, "edits.json", functools.partial(edit_files.read_edits, label_map=LABELS)),
    "scene": Kind(_make_scene, "scene/*", lambda path: scene_folders.load_scene(path.parent)),
    "motion": Kind(_make_motions, "*", _read_motion),
    "encoder": Kind(_make_encoder, "encoder/*", lambda path: encoder_files.load(path.parent)),
    "config": Kind(_make_checkpoint, "config.json", _load_checkpoint),
    "checkpoint": Kind(_make_checkpoint, "*/**/*", _load_checkpoint),
    "json": Kind(lambda folder: files.write_json(folder / "a.json", {"a": [1, {"b": "c"}]}), "a.json", files.read_json),
}
