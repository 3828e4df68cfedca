"""Whether a dataset can be trusted: python -m dnerf_jax.verify --dataset DIR --checkpoint DIR"""

import time
from collections.abc import Callable
from pathlib import Path

from dnerf_jax import cli
from dnerf_jax.factory.checks import comparison, rerendering, verification
from dnerf_jax.ops.ranges import Count, Seed


def main(dataset: str, checkpoint: str = "", samples: Count = 32, seed: Seed = 0) -> int:
    """Looks at every file of a dataset, and renders some of its views again. The exit status is 1 if anything is wrong.

    dataset: folder that dnerf_jax.generate wrote
    checkpoint: the model that made it; without it only the files are looked at
    samples: how many views are rendered again, in whole identities
    seed: of their choice
    """
    begun, out, findings = time.monotonic(), Path(dataset), verification.Findings()
    drawn = rerendering.drawn(out, checkpoint) if checkpoint else None
    checked = verification.check(out, findings, drawn=drawn, on_tar=_progress())
    told = [f"{checked.tars:,} tars with {checked.views:,} views, {checked.bytes / 1e6:,.1f} MB, looked at"]
    if len(checked.stacks) > 1:
        told.append(f"they come from {len(checked.stacks)} stacks: {', '.join(checked.stacks)}")
    if not checkpoint:
        told.append("dataset.json is believed: give --checkpoint to have it checked, and views rendered again")
    elif findings.total:
        told.append("nothing was rendered again, since files are wrong")
    else:
        compared, different = rerendering.in_a_worker(comparison.run, dataset, checkpoint, samples, seed)
        findings = different
        told.append(str(compared))
    for finding in findings.listed:
        print(finding)
    print("; ".join(told))
    found = f"findings: {findings.total:,}" if findings.total else "nothing is wrong"
    print(f"{found}, in {time.monotonic() - begun:.0f} s")
    return int(findings.total > 0)


def _progress() -> Callable[[verification.Checked], None]:
    told = time.monotonic()

    def tell(checked: verification.Checked) -> None:
        nonlocal told
        if time.monotonic() - told > 10:
            told = time.monotonic()
            print(f"{checked.tars:,} tars with {checked.views:,} views looked at", flush=True)

    return tell


if __name__ == "__main__":
    cli.door(main)
