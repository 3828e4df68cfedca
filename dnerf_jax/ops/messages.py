"""What messages need: a few of many things, how many there are, and names near to the one that was meant."""

import difflib
from collections.abc import Iterable
from typing import Any


def some(items: Iterable[Any], limit: int = 8, *, separator: str = ", ") -> str:
    """The first items joined, and how many there are where that is not all: "a, b, ... (9 in all)".

    Items may come from a stranger's file: of each only so much is shown as fits two lines.
    """
    names = [f"{item!s:.240}" for item in items]
    return separator.join(names[:limit] + [f"... ({len(names)} in all)"] * (len(names) > limit))


def count(number: int, thing: str) -> str:
    """A number of things: "no view", "1 view", "1,200 views"."""
    return f"{f'{number:,}' if number else 'no'} {thing}{'s' * (number > 1)}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Which of the known names are near to `name`, or all of them where none is; begins with "; "."""
    known = [str(entry) for entry in known]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    # In a nested configuration the last part of a path is what people remember: beta for optimizer.beta.
    near += [entry for entry in known if entry.split(".")[-1] == name.split(".")[-1] and entry not in near]
    if near:
        return "; did you mean " + " or ".join(repr(entry) for entry in near[:5]) + "?"
    return "; known are " + ", ".join(known) if known else ""
