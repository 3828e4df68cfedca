"""The paper's ablations on exact ground truth: python -m dnerf_jax.reproduce --table 4 --out out/reproduce"""

from dnerf_jax import cli
from dnerf_jax.experiments import ablations, rounds, textures
from dnerf_jax.experiments.inverted import Inversions
from dnerf_jax.experiments.rows import TABLES
from dnerf_jax.io import checkpoints, encoders, folders
from dnerf_jax.ops.ranges import Count
from dnerf_jax.training import branch, process, runs
from dnerf_jax.training.inversion.plan import Settings

FIGURES = ("S10", "choosing")


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
) -> None:
    """Reproduces a table (4 or 5) or a figure (S10) of the paper, or makes one of ours (ceiling, tuning; choosing).

    out: folder for trained branches, scores and tables; what is there is kept
    table: 4, 5, ceiling or tuning
    figure: S10, or choosing: whether it helps to choose what is labelled
    checkpoint: the generator, trained on the heads world
    seeds: how many runs of every row
    rows: names of the table's rows to make, separated by commas; all of them unless said
    protocol: known latents and cameras are scored, or with inversion what is found from the pictures alone, as in the
      paper
    cases: how many views are inverted
    inversion: the configuration of inversions, a file or a name; its stage z
    """
    if table not in ("", *TABLES) or figure not in ("", *FIGURES) or not (table or figure):
        raise ValueError(
            f"--table is {table!r}, --figure {figure!r}: give --table {', '.join(TABLES)} or --figure "
            f"{', '.join(FIGURES)}; the paper's other tables need datasets that are not here."
        )
    wanted = ablations.require_rows(table, rows)
    ablations.require_protocol(protocol, table)
    plan = cli.load_settings(inversion, Settings) if protocol == "inversion" else None
    with folders.claimed(out, known_by=[runs.SETTINGS]) as folder:
        process.prepare()
        model, base = checkpoints.load(checkpoint), cli.load_settings("heads", branch.Settings)
        # What is kept in `out` is of one generator and one configuration.
        runs.remember(folder, base, inputs={"generator": model.fingerprint}, made="*/*")
        encoder = encoders.find(model.fingerprint, checkpoint) if plan else None
        bench = ablations.Bench(base, model, folder, Inversions(cases, plan, encoder) if plan else None)
        if table:
            ablations.make_table(bench, table, range(seeds), wanted)
        if figure == "S10":
            textures.make_figure(bench)
        if figure == "choosing":
            rounds.make_figure(bench, range(seeds))


if __name__ == "__main__":
    cli.door(main)
