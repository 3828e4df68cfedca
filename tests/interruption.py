"""Kills runs at a step of their own, so that tests can continue them."""

import unittest.mock
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest


class Killed(Exception):
    """Stands for the kill."""


def kill(work: Callable[[], Any], module: ModuleType, name: str, calls: int) -> None:
    """Runs `work` until it calls `module.name` once more than `calls` times, as if the process ended there."""
    original, left = getattr(module, name), iter(range(calls))

    def step(*arguments):
        if next(left, None) is None:
            raise Killed
        return original(*arguments)

    with unittest.mock.patch.object(module, name, step), pytest.raises(Killed):
        work()
