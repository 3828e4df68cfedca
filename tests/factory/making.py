"""Workers that need no model: they write shards whose files say what they are of."""

import threading
import time

from dnerf_jax.factory import shards
from dnerf_jax.factory.runs.work import Made
from dnerf_jax.io import files

STACK = {"fingerprint": "0" * 16}


class Maker:
    """Stands for `work.Worker`; notes what it made. pause: seconds for every identity."""

    def __init__(self, plan, out, pause=0.0):
        self.plan, self.out, self.pause, self.stack, self.made = plan, out, pause, STACK, []
        self.begun = threading.Event()

    def make(self, shard, on_identity):
        views = self.plan.views_per_identity
        self.begun.set()
        for folder in reversed(shards.folders(self.plan)):
            with files.atomic_file(shards.tar_path(self.out, shard.name, folder)) as path, open(path, "wb") as file:
                tar, samples = shards.Tar(file), []
                for identity in shard.identities:
                    time.sleep(self.pause)
                    samples.append({"key": str(identity), "members": {"json": tar.add(f"{identity}.json", b"{}")}})
                    if folder == shards.VIEWS:
                        on_identity(views, 1)
                text = shards.sidecar_text(shard, tar, samples, [{"identity": 0}], self.stack)
            files.write_text(shards.sidecar_path(self.out, shard.name, folder), text)
        self.made.append(shard.name)
        return Made(shard.name, views * len(shard.identities), len(shard.identities), tar.size, 0.5, 0.25)
