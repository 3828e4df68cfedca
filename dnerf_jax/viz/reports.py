"""Writes a report: one HTML page with its pictures inside, for light and dark screens, of any width.

    reports.write(out / "report.html", "Demo", [
        reports.text("Trained on 90 labelled views."),
        reports.heading("Scores"),
        reports.table(["split", "mIoU"], [["single", 0.64], ["video", 0.66]]),
        reports.figure(picture, "Label, prediction, difference"),
    ])

Each function returns a piece of HTML without scripts; texts are escaped, so they may hold any character. A cloud that
can be turned is a piece too, with a script: see `viz.cloud_viewer`.
"""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dnerf_jax.io import files

_STYLE = """
:root { color-scheme: light dark;
  --ink: #1d1f21; --soft: #6a6f75; --line: #dfe2e5; --page: #ffffff; --bar: #4c78a8; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e6e8; --soft: #9aa0a6; --line: #3a3e42; --page: #17191b; --bar: #6f9bd1; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 3rem 1.25rem 5rem; max-width: 62rem;
  background: var(--page); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 1.2rem; letter-spacing: -0.01em; }
h2 { font-size: 1.25rem; margin: 2.8rem 0 0.8rem; padding-top: 0.9rem; border-top: 1px solid var(--line); }
p { max-width: 46rem; margin: 0.6rem 0; }
pre { max-width: 46rem; margin: 0.8rem 0; padding: 0.7rem 0.9rem; overflow-x: auto;
  border: 1px solid var(--line); border-radius: 6px; font: 0.85rem/1.5 ui-monospace, Menlo, Consolas,
    monospace; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: 0.8rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: 0.3rem 1.1rem 0.3rem 0; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 500; font-size: 0.88rem; }
th:first-child, td:first-child { text-align: left; }
.swatch { display: inline-block; width: 0.75em; height: 0.75em; border-radius: 2px; margin-right: 0.5em;
  border: 1px solid var(--line); }
.bar { display: inline-block; width: 9rem; height: 0.5rem; margin-right: 0.8rem; border-radius: 3px;
  background: var(--line); }
.bar span { display: block; height: 100%; border-radius: 3px; background: var(--bar); }
.facts { display: flex; flex-wrap: wrap; gap: 0.6rem 2.6rem; margin: 1.2rem 0; }
.facts dt { color: var(--soft); font-size: 0.88rem; }
.facts dd { margin: 0; font-size: 1.6rem; font-variant-numeric: tabular-nums; }
.terms { display: grid; grid-template-columns: auto 1fr; gap: 0.3rem 1.4rem; max-width: 46rem; }
.terms dt { color: var(--soft); }
.terms dd { margin: 0; overflow-wrap: anywhere; }
figure { margin: 1rem 0 1.8rem; }
img { display: block; max-width: 100%; height: auto; border-radius: 6px; border: 1px solid var(--line);
  background: #fff; }
figcaption { color: var(--soft); font-size: 0.9rem; margin-top: 0.45rem; max-width: 46rem; }
.gallery { display: grid; gap: 0 1.4rem; grid-template-columns: repeat(auto-fill, minmax(min(26rem, 100%), 1fr)); }
.plot { display: block; width: 100%; max-width: 24rem; height: auto; font-size: 12px; }
.plot text { fill: var(--soft); }
.plot .frame { fill: none; stroke: var(--line); }
.plot .subject { fill: none; stroke: var(--soft); }
.plot .mark { fill: var(--bar); fill-opacity: 0.7; }
@media (max-width: 34rem) { body { padding-top: 1.5rem; } .bar { width: 4rem; } th, td { padding-right: 0.8rem; } }
"""


def write(path: str | Path, title: str, sections: Sequence[str], *, style: str = "") -> Path:
    """Writes a page of these pieces of HTML to `path`, whose folder is made if missing; returns `path`.

    style: CSS that pieces need beside that of this module.
    """
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}{style}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{html.escape(title)}</h1>\n" + "\n".join(sections) + "\n</main>\n</body>\n</html>\n"
    )
    files.write_text(path, page)
    return Path(path)


def heading(title: str) -> str:
    """A heading that begins a section."""
    return f"<h2>{html.escape(title)}</h2>"


def text(*paragraphs: str) -> str:
    """Paragraphs of plain text."""
    return "\n".join(f"<p>{html.escape(paragraph)}</p>" for paragraph in paragraphs)


def command(line: str) -> str:
    """A command as it would be typed."""
    return f"<pre>{html.escape(line)}</pre>"


def facts(values: Mapping[str, Any]) -> str:
    """A few values in large type, each under its name."""
    entries = [f"<div><dt>{html.escape(name)}</dt><dd>{_cell(value)}</dd></div>" for name, value in values.items()]
    return f'<dl class="facts">{"".join(entries)}</dl>'


def terms(values: Sequence[tuple[str, Any]]) -> str:
    """Names with texts of any length beside them."""
    entries = [f"<dt>{html.escape(name)}</dt><dd>{_cell(value)}</dd>" for name, value in values]
    return f'<dl class="terms">{"".join(entries)}</dl>'


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    colors: Sequence[Sequence[int]] | None = None,
    bar: int | None = None,
    percent: Sequence[int] = (),
) -> str:
    """A table; numbers with three decimals, None and what is not finite as a dash.

    Args:
      columns: titles.
      rows: values of each row, as many as there are columns.
      colors: red, green, blue in 0 to 255 for each row, shown as a swatch before its first value (the class
        colours).
      bar: index of a column of values in [0, 1] that also get a bar.
      percent: indices of columns of shares, which are shown in percent, with two decimals.

    Raises:
      ValueError: a row has another length than `columns`, or the number of colours is not that of the rows.
    """
    if colors is not None and len(colors) != len(rows):
        raise ValueError(f"a table of {len(rows)} rows needs as many colours, not {len(colors)}")
    head = "".join(f'<th scope="col">{html.escape(title)}</th>' for title in columns)
    body = []
    for i, row in enumerate(rows):
        if len(row) != len(columns):
            raise ValueError(f"row {i} of the table has {len(row)} values for {len(columns)} columns: {row}")
        cells = [_cell(_percent(value) if place in percent else value) for place, value in enumerate(row)]
        if bar is not None and _is_number(row[bar]):
            share = 100 * min(max(float(row[bar]), 0.0), 1.0)
            cells[bar] = f'<span class="bar"><span style="width: {share:.1f}%"></span></span>' + cells[bar]
        if colors is not None:
            color = "rgb({}, {}, {})".format(*(int(value) for value in colors[i]))
            cells[0] = f'<span class="swatch" style="background: {color}"></span>' + cells[0]
        body.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    # What may be wider than the page has to be reached by keys.
    said = html.escape(f"Table of {', '.join(filter(None, columns))}")
    frame = f'<div class="scroll" tabindex="0" role="group" aria-label="{said}">'
    parts = [f"{frame}<table>\n<thead><tr>{head}</tr></thead>\n<tbody>", *body, "</tbody>"]
    return "\n".join([*parts, "</table></div>"])


def figure(picture: np.ndarray, caption: str = "", *, width: int | None = None) -> str:
    """A picture with a caption below.

    Args:
      picture: uint8 (H, W, 3) or (H, W); stored without loss.
      caption: plain text; also what a screen reader says.
      width: on the page, in pixels; by default the picture's own, at most the page's.
    """
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(picture)).save(buffer, "PNG", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    size = "" if width is None else f' width="{int(width)}"'
    image = f'<img alt="{html.escape(caption)}"{size} src="data:image/png;base64,{data}">'
    below = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    return f"<figure>{image}{below}</figure>"


def gallery(figures: Sequence[str]) -> str:
    """Figures side by side, as many as the page is wide for."""
    return f'<div class="gallery">{"".join(figures)}</div>'


def scatter(
    points: np.ndarray, caption: str, *, axes: tuple[str, str], around: Sequence[float] = (), marks: float = 2.2
) -> str:
    """A plot of places in the plane, both axes of one scale, with the origin in it.

    Args:
      points: (N, 2), x to the right, y up.
      caption: plain text; also what a screen reader says.
      axes: what x and y are.
      around: radii of circles around the origin, which stand for the subject.
      marks: radius of a mark; the plot is 300 wide.
    """
    reach = 1.12 * max([1e-6, *np.abs(points).ravel().tolist(), *around])
    circles = [f'<circle class="subject" cx="150" cy="150" r="{130 * radius / reach:.1f}"/>' for radius in around]
    places = 150 + 130 * np.asarray(points, float) / reach * (1, -1)
    circles += [f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="{marks:g}"/>' for x, y in places]
    ticks = f'<text x="280" y="296" text-anchor="end">{reach:.2f}</text><text x="20" y="296">-{reach:.2f}</text>'
    names = [f'<text x="150" y="296" text-anchor="middle">{html.escape(axes[0])}</text>']
    names += [f'<text x="12" y="150" text-anchor="middle" transform="rotate(-90 12 150)">{html.escape(axes[1])}</text>']
    drawing = f'<rect class="frame" x="20" y="20" width="260" height="260"/>{"".join([*circles, ticks, *names])}'
    said = html.escape(caption)
    svg = f'<svg class="plot" viewBox="0 0 300 304" role="img" aria-label="{said}">{drawing}</svg>'
    return f"<figure>{svg}<figcaption>{said}</figcaption></figure>"


def _percent(value: Any) -> Any:
    # Figure spaces are as wide as digits, so that bars stand below each other.
    return f"{100 * value:6.2f}".replace(" ", "\u2007") + " %" if _is_number(value) else value


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return number and bool(np.isfinite(value))


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float | np.floating) and not np.isfinite(value)):
        return "–"
    if isinstance(value, float | np.floating):
        return f"{value:.3f}"
    return html.escape(str(value))
