"""Libraries that keep things at home and ask the network do neither here."""

import socket
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def _datasets(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The package `datasets`, its caches in a folder of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        # Both are read when it is imported.
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hugging_face")))
        patch.setenv("HF_HUB_OFFLINE", "1")
        datasets = pytest.importorskip("datasets", reason="make test-all installs it")
        datasets.disable_progress_bars()
        return datasets


@pytest.fixture
def hugging_face(_datasets: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The package `datasets`; it gets an error where it wants the network."""

    def refuse(*_):
        raise AssertionError("the network is wanted")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    return _datasets
