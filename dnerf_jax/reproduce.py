"""The paper's tables and figures on exact ground truth: python -m dnerf_jax.reproduce --table 4 --out out/reproduce"""

from dnerf_jax import cli
from dnerf_jax.experiments import ablations, carriers, clouds, confidence, rounds, scans, strips, textures
from dnerf_jax.experiments.inverted import Inversions
from dnerf_jax.io import checkpoints, encoders, folders
from dnerf_jax.ops.ranges import Count, Share
from dnerf_jax.training import branch, process, runs
from dnerf_jax.training.inversion.plan import Settings
from dnerf_jax.training.points.plan import Settings as PointSettings


def main(
    out: str,
    table: str = "",
    figure: str = "",
    checkpoint: str = "heads",
    seeds: Count = 3,
    rows: str = "",
    protocol: str = "known",
    cases: Count = 12,
    inversion: str = "invert",
    network: str = "pointnet",
    scale: Share = 1.0,
    files: str = "",
) -> None:
    """Reproduces tables 2 to 5 and figures 5, S10, S12 and S13 of the paper, or makes ours (ceiling, ...).

    out: folder for trained branches, scores and tables; what is there is kept
    table: 2 or 3 of clouds, 4, 5, ceiling, features or tuning
    figure: 5, S10, S12, S13; choosing, features or confidence, which are ours: see docs/experiments.md
    checkpoint: the generator, trained on the heads world
    seeds: how many runs of every row
    rows: names of the rows to make of table 4, 5, ceiling, features or tuning, separated by commas; all unless said
    protocol: known latents and cameras are scored, or with inversion what is found from pictures, as in the paper
    cases: how many views are inverted
    inversion: the configuration of inversions, a file or a name; its stage z
    network: the configuration of the network that learns from clouds
    scale: share of the paper's numbers of clouds
    files: for figure 5 heads (OBJ, PLY or GLB, y up), for S13 folders of networks, separated by commas
    """
    ablations.require_known(table, figure)
    wanted = ablations.require_rows(table, rows)
    ablations.require_protocol(protocol, table)
    if figure == "5":
        scans.make(out, files.split(",") if files else (), scale)
        return
    if (name := table or figure) in clouds.TABLES:
        clouds.make(out, name, checkpoint, cli.load_settings(network, PointSettings), range(seeds), scale)
        return
    labellers = strips.named(files) if figure == "S13" else {}
    plan = cli.load_settings(inversion, Settings) if protocol == "inversion" else None
    with folders.claimed(out, known_by=[runs.SETTINGS]) as folder:
        process.prepare()
        model, base = checkpoints.load(checkpoint), cli.load_settings("heads", branch.Settings)
        runs.remember(folder, base, inputs={"generator": model.fingerprint}, made="*/*")
        inversions = Inversions(cases, plan, encoders.find(model.fingerprint, checkpoint)) if plan else None
        bench = ablations.Bench(base, model, folder, inversions)
        if table:
            ablations.make_table(bench, table, range(seeds), wanted)
        if figure == "S10":
            textures.make_figure(bench)
        if figure == "S13":
            strips.make_figure(bench, labellers)
        if figure in (ours := {"choosing": rounds, "features": carriers, "confidence": confidence}):
            ours[figure].make_figure(bench, range(seeds))


if __name__ == "__main__":
    cli.door(main)
