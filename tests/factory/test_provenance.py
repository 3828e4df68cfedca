"""Provenance: fingerprints of checkpoint and stack change with what bytes depend on."""

import os
from pathlib import Path

from dnerf_jax.factory import provenance


def test_a_stack_is_named_by_all_that_bytes_depend_on(monkeypatch):
    found = provenance.stack()
    assert found["versions"]["jax"] and found["platform"] == "cpu" and found["device"] and len(found["sources"]) == 16
    assert found == provenance.stack() and len(found["fingerprint"]) == 16
    monkeypatch.setenv("NPROC", "1" if found["threads"] != 1 else "2")
    other = provenance.stack()
    assert other["threads"] != found["threads"] and other["fingerprint"] != found["fingerprint"]
    monkeypatch.setenv("XLA_FLAGS", os.environ.get("XLA_FLAGS", "") + " --xla_cpu_enable_fast_math=false")
    assert provenance.stack()["fingerprint"] not in (found["fingerprint"], other["fingerprint"])


def test_an_origin_tells_generator_and_branch(tiny_model, tiny_semantic_model):
    plain, labelled = provenance.origin(tiny_model), provenance.origin(tiny_semantic_model)
    assert plain["fingerprint"] == labelled["fingerprint"] == tiny_model.fingerprint
    assert plain["semantic_fingerprint"] is None and len(labelled["semantic_fingerprint"]) == 16
    assert plain["license"] == "none"


def test_a_stack_knows_the_code_that_made_the_bytes():
    root = Path(provenance.__file__).parent.parent
    named = {path.relative_to(root).as_posix() for pattern in provenance._SOURCES for path in root.glob(pattern)}
    assert all(list(root.glob(pattern)) for pattern in provenance._SOURCES)
    assert {"models/scenes.py", "networks/stylegan2.py", "ops/points.py", "factory/render.py"} <= named
