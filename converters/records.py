"""What pickled objects become: records of a class's name and attributes, modules within modules."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .refusals import Refused, shown

PARAMETERS, BUFFERS, MODULES = "_parameters", "_buffers", "_modules"
_NAME = re.compile(r"\w{1,100}")
_MOST, _DEEP = 10_000, 50  # modules, or tensors, that are looked at, and how deep: EG3D's are some 200, and 5


class Record:
    """What a pickled object becomes: the name of its class, and its attributes; nothing that runs."""

    class_name = "object"

    def __new__(cls, *_args: Any, **_kwargs: Any) -> "Record":
        record = super().__new__(cls)
        record.attributes = {}
        return record

    def __init__(self, class_name: str | None = None, attributes: Mapping | None = None) -> None:
        if class_name is not None:
            self.class_name = class_name
        self.attributes.update(attributes or {})

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise Refused(f"the state of a {self.class_name} is {shown(state)}, expected a dict")
        self.attributes.update(state)

    def __repr__(self) -> str:
        return f"Record({self.class_name:.100})"

    def get(self, name: str, default: Any = None) -> Any:
        """The attribute `name`, or `default` where the object has none."""
        return self.attributes.get(name, default)

    def child(self, path: str) -> "Record | None":
        """The submodule at a dotted path such as "backbone.mapping", or None where there is none."""
        record = self
        for name in path.split("."):
            modules = record.get(MODULES) if isinstance(record, Record) else None
            record = modules.get(name) if isinstance(modules, dict) else None
        return record if isinstance(record, Record) else None

    def table(self, name: str, path: str = "") -> dict[str, Any]:
        """The attribute `name`, a dict of named things; empty where there is none. `path` is the record's, in messages.

        Raises ValueError if it is something else, larger than any network needs, or its names are no names.
        """
        where = f"{name} of {path or 'the network'}"
        table = self.get(name)
        if table is None:
            return {}
        if not isinstance(table, dict):
            raise ValueError(f"{where} is {shown(table)}, expected a dict")
        if len(table) > _MOST:
            raise ValueError(f"{where} has {len(table)} entries, expected at most {_MOST}")
        for key in table:
            if not isinstance(key, str) or not _NAME.fullmatch(key):
                raise ValueError(f"{where} has the name {shown(key)}, expected letters, digits and underscores")
        return table

    def walk(self) -> Iterator[tuple[str, "Record"]]:
        """Yields (dotted path, record) of this module and all below it, as PyTorch's `named_modules` does.

        Raises ValueError if a module contains itself, or there are more, or deeper ones, than any network has.
        """
        waiting, seen = [("", self, ())], 1
        while waiting:
            path, record, above = waiting.pop()
            if any(other is record for other in above):
                raise ValueError(f"the module {path} contains itself: the file is damaged or was tampered with")
            modules = record.table(MODULES, path)
            seen += len(modules)
            if seen > _MOST or len(above) > _DEEP:
                raise ValueError(f"more than {_MOST} modules, or modules more than {_DEEP} deep; EG3D has some 200")
            yield path, record
            below = [(_joined(path, name), module) for name, module in modules.items() if isinstance(module, Record)]
            waiting += [(*entry, (*above, record)) for entry in reversed(below)]

    def state_dict(self) -> dict[str, np.ndarray]:
        """All parameters and persistent buffers by dotted name, as PyTorch's `state_dict` does.

        Raises ValueError if one is no tensor, or there are more than any network has.
        """
        arrays, seen = {}, 0
        for path, record in self.walk():
            passing = record.get("_non_persistent_buffers_set")
            passing = passing if isinstance(passing, set) else ()
            for group in (PARAMETERS, BUFFERS):
                table = record.table(group, path)
                seen += len(table)
                if seen > _MOST:
                    raise ValueError(f"more than {_MOST} tensors; EG3D has some 300")
                for name, value in table.items():
                    if value is None or (group == BUFFERS and name in passing):
                        continue
                    if not isinstance(value, np.ndarray):
                        raise ValueError(f"{_joined(path, name)} is {shown(value)}, expected a tensor")
                    arrays[_joined(path, name)] = value
        return arrays


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
