"""A page about a dataset, to look at in a browser: python -m dnerf_jax.report --dataset DIR"""

from pathlib import Path

from dnerf_jax import cli
from dnerf_jax.factory.cards import report_page


def main(dataset: str, out: str | None = None) -> None:
    """Writes a page about a dataset: samples, classes, cameras, clouds that can be turned, and how it was made.

    dataset: folder that dnerf_jax.generate wrote
    out: the page; by default run/report.html in the dataset's folder
    """
    folder = Path(dataset)
    print(report_page.write(folder, Path(out) if out else folder / "run" / "report.html"))


if __name__ == "__main__":
    cli.door(main)
