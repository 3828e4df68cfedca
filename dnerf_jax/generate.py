"""Makes labelled data: python -m dnerf_jax.generate --config heads_dataset --checkpoint DIR --out DIR"""

from dnerf_jax import cli
from dnerf_jax.factory.plan import Plan
from dnerf_jax.factory.runs import clusters, engines, estimate
from dnerf_jax.factory.runs.work import Job
from dnerf_jax.ops.ranges import Count


def main(
    config: Plan,
    checkpoint: str,
    out: str,
    workers: Count | None = None,
    worker: str = "",
    engine: str = "process",
    cluster: str = "",
    resources: str = "",
    dry_run: bool = False,
) -> None:
    """Generates images, masks, depth, labelled point clouds and more, in shards; what is there is kept.

    Any number of these commands can work in one folder at the same time, and go on where others were killed.

    checkpoint: folder of the model, or an embedded name
    out: folder of the dataset
    workers: processes on a CPU, one for each core unless given; elsewhere devices, all unless given; on a Ray cluster
      actors, as many as there is room for; of Slurm jobs, one
    worker: k/n begins with part k, from 0, of n, and then helps with the rest; Slurm's tasks know theirs
    engine: process, on this machine; ray or slurm
    cluster: Ray's address, if not in RAY_ADDRESS; local runs the jobs of slurm on this machine
    resources: of a worker on a cluster, such as num_gpus=1,memory=4e9 (ray) or mem_gb=4,slurm_partition=cpu (slurm)
    dry_run: says what would be made, its size, memory, time and first cameras, from one group of identities
    """
    job = Job(config, checkpoint, out)
    if dry_run:
        print(estimate.estimate(job, workers=workers))
    else:
        chosen = clusters.engine(engine, cluster, resources)
        engines.generate(job, workers=workers, part=worker, engine=chosen)


if __name__ == "__main__":
    cli.door(main)
