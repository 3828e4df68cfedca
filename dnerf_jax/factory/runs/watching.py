"""How far a dataset is, whoever makes it: a line every few seconds."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from dnerf_jax.factory import shards
from dnerf_jax.factory.plan import Plan, Shard
from dnerf_jax.factory.runs import space
from dnerf_jax.factory.runs.claims import Claims
from dnerf_jax.training import logs

_EVERY = 5.0  # seconds between looks
_SHARE = 20  # of the time at most one part is spent on looking, however many shards there are


class Watch:
    """Counts what is done of the shards that were missing, and what all workers say of those they have claimed."""

    def __init__(self, plan: Plan, out: Path, missing: Sequence[Shard]) -> None:
        self._plan, self._out = plan, out
        self._missing = {shard.name: shard for shard in missing}
        left = sum(len(shard.identities) for shard in missing) * plan.views_per_identity
        self._done, self._bytes, self._drops = plan.num_views - left, 0, 0
        self._progress = logs.Progress(plan.num_views, start=self._done, every=_EVERY, unit="view")
        self._next = 0.0

    def begin(self, who: str) -> None:
        """Says what is about to be done, and by whom."""
        done = f", {self._done:,} are there" if self._done else ""
        print(
            f"making {self._plan.num_views:,} views of {self._plan.num_identities:,} identities{done}: "
            f"{len(self._missing):,} shards, {who}; the first take longer",
            flush=True,
        )

    def look(self) -> None:
        """Prints how far all is, if it is time to; called as often as one likes."""
        begun = time.monotonic()
        if begun < self._next:
            return
        self._count_done()
        held = [said for name, said in Claims(self._out).held().items() if name in self._missing]
        views = self._done + sum(said.get("views", 0) for said in held)
        if views:
            drops = self._drops + sum(said.get("drops", 0) for said in held)
            made = {"written": space.said(self._bytes)} | ({"drops": drops} if drops else {})
            self._progress.update(min(views, self._plan.num_views), made)
        now = time.monotonic()
        self._next = now + max(_EVERY, _SHARE * (now - begun))

    def _count_done(self) -> None:
        """Moves what was finished since the last look from what is missing to what is done."""
        try:
            names = os.listdir(self._out / shards.VIEWS)
        except FileNotFoundError:
            return
        for name in names:
            shard = self._missing.get(name.removesuffix(".json")) if name.endswith(".json") else None
            if shard is None or not shards.is_done(self._plan, shard, self._out):
                continue
            heads = [shards.read_head(self._out, shard.name, folder) for folder in shards.folders(self._plan)]
            self._done += len(shard.identities) * self._plan.views_per_identity
            self._bytes += sum(head["bytes"] for head in heads)
            self._drops += len(heads[0]["drops"])
            del self._missing[shard.name]
