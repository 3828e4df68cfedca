"""Lists of mask edits as JSON, by hand or from a program.

    [{"op": "scale", "label": "nose", "across": 1.5, "down": 1, "only_over": ["skin"]},
     {"op": "grow", "label": "hair", "by": 0.3, "towards": "down", "only_over": ["background", "neck"]}]

`op` is one of `ops.mask_edits`, in lower case, the other keys are its fields; lengths are in image sizes.
"""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

from dnerf_jax.io import files, schema
from dnerf_jax.ops import mask_edits
from dnerf_jax.ops.labels import LabelMap
from dnerf_jax.ops.mask_edits import OPERATIONS, Operation
from dnerf_jax.ops.messages import did_you_mean


def read_edits(path: str | os.PathLike, label_map: LabelMap) -> tuple[Operation, ...]:
    """Reads a list of operations. Raises ValueError, always naming the file, as `from_data`, and if it is no JSON."""
    content = files.read_json(path, "a list of edits", kind=list)
    try:
        return from_data(content, label_map)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as a list of edits: {error}") from error


def from_data(content: Any, label_map: LabelMap) -> tuple[Operation, ...]:
    """The operations of what `to_data` makes.

    Raises ValueError, naming the operation and the near names: there is none, one has no or an unknown op, an unknown
    field, lacks one, has a value of another kind or range, or names a class that is not in the label map.
    """
    if not isinstance(content, list) or not content:
        raise ValueError(f"it holds {content!r:.80}, expected a list of at least one operation")
    operations = []
    for number, entry in enumerate(content, 1):
        if not isinstance(entry, dict) or not isinstance(entry.get("op"), str):
            raise ValueError(
                f"operation {number} is {entry!r:.80}, expected an object whose op is one of {', '.join(OPERATIONS)}"
            )
        fields, op = dict(entry), entry["op"]
        del fields["op"]
        if op not in OPERATIONS:
            raise ValueError(f"operation {number} has the unknown op {op!r:.50}" + did_you_mean(op[:50], OPERATIONS))
        operations.append(schema.as_dataclass(fields, OPERATIONS[op], f"operation {number} ({op})"))
    mask_edits.check(operations, label_map)
    return tuple(operations)


def to_data(operations: Sequence[Operation]) -> list[dict[str, Any]]:
    """Operations as they are in JSON; fields that have their usual values are left out."""
    return [
        {"op": type(one).__name__.lower()}
        | {f.name: getattr(one, f.name) for f in dataclasses.fields(one) if getattr(one, f.name) != f.default}
        for one in operations
    ]
