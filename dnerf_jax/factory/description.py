"""dataset.json: what a dataset is, for whoever opens the folder, and for the run that continues it."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnerf_jax.factory import record
from dnerf_jax.factory.plan import Plan, num_shards, split_sizes
from dnerf_jax.factory.record import Form
from dnerf_jax.io import files, png, schema

if TYPE_CHECKING:
    from dnerf_jax.models.generator import GeneratorConfig  # which needs JAX, as a reader does not
    from dnerf_jax.ops.labels import LabelMap

NAME = "dataset.json"  # by which a folder is known to be a dataset
LABEL_MAP = "labelmap.json"
POSES = "poses"  # their number and their fingerprint; in the plan, their order
RELABELLED = "relabelled_from"  # of a dataset whose labels were made anew: by whom and how they were before
SCHEMA_VERSION = 2
FRAME = (
    "World frame: x to the image's right in a frontal view, y up, z towards the frontal camera. Lengths are in world "
    "units: the tri-plane's box has the side box_side, and a unit is some metres_per_unit metres (null: unknown). "
    "Cameras are OpenCV camera-to-world (x right, y down, z forward); intrinsics are divided by the image size. "
    "depth_z is along the optical axis, distance along the ray."
)
_FIELDS = {"schema_version": int, "plan": dict, "checkpoint": dict, "forms": dict, "image_resolution": int}
# Fields of the plan that may differ when a run continues: these may grow.
_GROWS = ("num_identities",)


@dataclasses.dataclass(frozen=True)
class Description:
    """A dataset.json, read.

    Attributes:
      plan: of the dataset.
      forms: of its views' modalities, by name.
      checkpoint: fingerprints of the generator and of the branch, and the model's info (licence, origin).
      image_resolution: R.
      content: all of the file.
      num_poses: of poses.json, see `factory.poses`; 0 where there is none.
    """

    plan: Plan
    forms: Mapping[str, Form]
    checkpoint: Mapping[str, Any]
    image_resolution: int
    content: Mapping[str, Any]
    num_poses: int = 0

    @property
    def poses_fingerprint(self) -> str:
        """Of poses.json, "" where there is none."""
        return self.content[POSES]["fingerprint"] if self.num_poses else ""


def write(
    plan: Plan,
    config: "GeneratorConfig",
    label_map: "LabelMap | None",
    origin: Mapping[str, Any],
    out: Path,
    *,
    begun: bool,
    poses: Mapping[str, Any] | None = None,
) -> None:
    """Writes dataset.json and labelmap.json; files that say the same already stay as they are.

    origin: see `provenance.origin`. poses: see `poses.Frames.told`; None where there are none. begun: whether there are
    shards, which another plan or checkpoint would contradict.

    Raises ValueError: it does.
    """
    content, path = describe(plan, config, origin, poses), out / NAME
    if begun:
        require_same(content, out)
    if not path.exists() or files.read_text(path) != files.to_json(content, indent=2):
        files.write_json(path, content, indent=2)
    if "mask" in plan.modalities and label_map is not None and not (out / LABEL_MAP).exists():
        png.save_label_map(out / LABEL_MAP, label_map)


def require_same(content: Mapping[str, Any], out: Path) -> None:
    """Raises ValueError: the dataset in a folder, if there is one, is not that of this content (see `describe`)."""
    if (out / NAME).exists():
        old, new = (_inputs(found) for found in (read(out).content, content))
        grown = [name for name in _GROWS if old[name] < new[name]]
        schema.require_same(out, old, new, except_for=grown)


def describe(
    plan: Plan, config: "GeneratorConfig", origin: Mapping[str, Any], poses: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The content of dataset.json. poses: what `poses.Frames.told` says; None where there are none."""
    content = {
        "schema_version": SCHEMA_VERSION,
        "plan": plan_as_json(plan, poses),
        "identities": split_sizes(plan),
        "views": plan.num_views,
        "shards": num_shards(plan),
        "checkpoint": dict(origin),
        "forms": {name: dataclasses.asdict(form) for name, form in record.forms(plan, config).items()},
        "image_resolution": config.image_resolution,
        "frame": FRAME,
        "box_side": config.rendering.box_warp,
        "metres_per_unit": config.rendering.metres_per_unit,
    }
    return content if poses is None else content | {POSES: dict(poses)}


def plan_as_json(plan: Plan, poses: Mapping[str, Any] | None) -> dict[str, Any]:
    """The plan in dataset.json: of the poses only their order, since they are there themselves, or nothing."""
    content = schema.as_json(plan)
    chosen = content.pop(POSES)
    return content if poses is None else content | {POSES: {"order": chosen["order"]}}


def read(out: Path) -> Description:
    """The dataset.json of a folder. Raises ValueError: there is none, it is damaged, or of another version."""
    path = out / NAME
    if not path.exists():
        raise ValueError(f"{out} is no dataset: it has no {NAME}. Name the folder that dnerf_jax.generate wrote")
    content = files.read_json(path, "the description of a dataset")
    wrong = [name for name, kind in _FIELDS.items() if not isinstance(content.get(name), kind)]
    wrong = wrong or [f"forms.{name}" for name, form in content["forms"].items() if not isinstance(form, dict)]
    if wrong or content["schema_version"] != SCHEMA_VERSION:
        raise ValueError(
            f"{path} lacks {wrong}: restore it"
            if wrong
            else f"{path} has schema version {content['schema_version']}, expected {SCHEMA_VERSION}: it was made by "
            "another version of dnerf_jax; make the dataset anew"
        )
    plan = schema.as_dataclass(content["plan"], Plan, f"{path}: plan")
    forms = {name: schema.as_dataclass(form, Form, f"{path}: forms.{name}") for name, form in content["forms"].items()}
    if tuple(forms) != plan.view_modalities:
        raise ValueError(f"{path}: forms are of {list(forms)}, the plan has {list(plan.view_modalities)}: restore it")
    poses = _num_poses(plan, content, path)
    return Description(plan, forms, content["checkpoint"], content["image_resolution"], content, poses)


def _num_poses(plan: Plan, content: Mapping[str, Any], path: Path) -> int:
    """How many poses a dataset has. Raises ValueError: what it says of them cannot be so."""
    if POSES not in content:
        return 0
    found = content[POSES] if isinstance(content[POSES], dict) else {}
    count, of = found.get("frames"), found.get("fingerprint")
    by_view = plan.poses.order == "frames"
    if type(count) is not int or count < 1 or not isinstance(of, str) or (by_view and count != plan.views_per_identity):
        raise ValueError(
            f"{path}: {POSES} is {content[POSES]!r:.100}, expected the number of frames"
            f"{f', {plan.views_per_identity} as of views,' * by_view} and a fingerprint: restore it"
        )
    return count


def _inputs(content: Mapping[str, Any]) -> dict[str, Any]:
    """What a dataset depends on, by name."""
    origin = content["checkpoint"]
    named = {"generator": origin.get("fingerprint"), "semantic branch": origin.get("semantic_fingerprint")}
    named |= {"motion": content[POSES]["fingerprint"]} if POSES in content else {}
    return dict(content["plan"]) | named | {RELABELLED: content.get(RELABELLED)}
