"""A labelled point cloud that is turned by mouse, touch or keys: a piece of a report, with its points and its script.

    reports.write(path, "Heads", [cloud_viewer.piece([("identity 3", cloud)])], style=cloud_viewer.STYLE)

It draws on a plain canvas, with the nearest point in front, and loads nothing. Without scripts the legend is left.
"""

import base64
import html
import json
from collections.abc import Sequence

import numpy as np

from dnerf_jax.ops.clouds import PointCloud
from dnerf_jax.ops.labels import LabelMap

STYLE = """
.cloud canvas { display: block; width: 100%; max-width: 36rem; aspect-ratio: 1; touch-action: pan-y; cursor: grab;
  border: 1px solid var(--line); border-radius: 6px; }
.cloud canvas:active { cursor: grabbing; }
.cloud :is(canvas, button, select, input):focus-visible { outline: 3px solid var(--bar); outline-offset: 2px; }
.cloud .controls { display: flex; flex-wrap: wrap; gap: 0.5rem 1.2rem; align-items: center; margin-bottom: 0.6rem; }
.cloud fieldset { border: 0; margin: 0; padding: 0; display: flex; flex-wrap: wrap; gap: 0.3rem 1.1rem; }
.cloud fieldset.classes { margin-top: 0.8rem; max-width: 46rem; }
.cloud legend { color: var(--soft); font-size: 0.88rem; padding: 0; float: left; margin-right: 0.9rem; }
.cloud button, .cloud select { font: inherit; min-width: 2.4rem; min-height: 2.2rem; color: inherit;
  background: var(--page); border: 1px solid var(--soft); border-radius: 6px; }
.cloud label { display: inline-flex; align-items: center; gap: 0.4rem; overflow-wrap: anywhere; }
.cloud .swatch { margin: 0; flex: none; }
"""

_SCRIPT = """
for (const root of document.querySelectorAll(".cloud")) {
  const part = (name) => root.querySelector(name), canvas = part("canvas"), context = canvas.getContext("2d");
  const { clouds, palette } = JSON.parse(part("script[type='application/json']").textContent);
  const [front, least, most] = [{ yaw: 0.5, pitch: 0.15, zoom: 1 }, 0.4, 8];
  const view = { ...front }, hidden = new Set(), fingers = new Map();
  let shown = unpack(clouds[0]), waiting = false, spread = 0;

  function unpack(text) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)), count = bytes.length / 10;
    const places = new Int16Array(bytes.buffer, 0, 3 * count);
    return { count, places, colors: bytes.subarray(6 * count, 9 * count), labels: bytes.subarray(9 * count) };
  }

  function draw() {
    waiting = false;
    const size = canvas.width, image = context.createImageData(size, size);
    const pixels = new Uint32Array(image.data.buffer), depth = new Float32Array(size * size).fill(-2);
    const { count, places, colors, labels } = shown, byLabel = part("input[value=labels]")?.checked;
    const [cy, sy, cp, sp] = [view.yaw, view.pitch].flatMap((angle) => [Math.cos(angle), Math.sin(angle)]);
    const scale = 0.47 * size * view.zoom;
    const radius = Math.min(Math.max(0.85 * scale / Math.sqrt(count), 1), 0.05 * size * view.zoom);
    for (let i = 0; i < count; i++) {
      if (hidden.has(labels[i])) continue;
      const [x, y, z] = [0, 1, 2].map((axis) => places[3 * i + axis] / 32767);
      const ahead = cy * z - sy * x, near = cp * ahead + sp * y, shade = 0.8 + 0.2 * near;
      const left = size / 2 + scale * (cy * x + sy * z), top = size / 2 - scale * (cp * y - sp * ahead);
      const color = byLabel ? palette[labels[i]] ?? [128, 128, 128] : colors.subarray(3 * i, 3 * i + 3);
      const [r, g, b] = Array.from(color, (value) => Math.round(value * shade));
      const word = ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
      for (let v = Math.max(Math.ceil(top - radius), 0); v <= Math.min(top + radius, size - 1); v++) {
        const reach = Math.sqrt(Math.max(radius * radius - (v - top) ** 2, 0));
        for (let u = Math.max(Math.ceil(left - reach), 0); u <= Math.min(left + reach, size - 1); u++) {
          if (near > depth[v * size + u]) { depth[v * size + u] = near; pixels[v * size + u] = word; }
        }
      }
    }
    context.putImageData(image, 0, 0);
  }

  function redraw() {
    view.pitch = Math.min(Math.max(view.pitch, -Math.PI / 2), Math.PI / 2);
    view.zoom = Math.min(Math.max(view.zoom, least), most);
    if (!waiting) { waiting = true; requestAnimationFrame(draw); }
  }

  function say() {
    const [yaw, pitch] = [view.yaw, view.pitch].map((angle) => Math.round(angle * 180 / Math.PI));
    part("output").textContent = `turned by ${yaw}°, tilted by ${pitch}°, enlarged ${view.zoom.toFixed(1)} times`;
  }

  const turn = (yaw, pitch) => { view.yaw += yaw; view.pitch += pitch; };
  const acts = { nearer: () => { view.zoom *= 1.25; }, farther: () => { view.zoom /= 1.25; },
    back: () => Object.assign(view, front) };
  const keys = { ArrowLeft: () => turn(-0.15, 0), ArrowRight: () => turn(0.15, 0), ArrowUp: () => turn(0, -0.15),
    ArrowDown: () => turn(0, 0.15), "+": acts.nearer, "=": acts.nearer, "-": acts.farther, "0": acts.back };
  canvas.addEventListener("keydown", (event) => {
    if (!(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault(); keys[event.key](); redraw(); say();
  });
  for (const button of root.querySelectorAll("button"))
    button.addEventListener("click", () => { acts[button.value](); redraw(); say(); });
  root.addEventListener("change", (event) => {
    if (event.target.matches("select")) shown = unpack(clouds[event.target.value]);
    if (event.target.matches("[type=checkbox]"))
      hidden[event.target.checked ? "delete" : "add"](Number(event.target.value));
    redraw();
  });
  const apart = () => { const [a, b] = [...fingers.values()]; return Math.hypot(a.x - b.x, a.y - b.y); };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId); fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (fingers.size === 2) spread = apart();
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (fingers.size === 1) turn((event.clientX - before.x) / 120, (event.clientY - before.y) / 120);
    if (fingers.size === 2) { view.zoom *= apart() / spread; spread = apart(); }
    redraw();
  });
  for (const end of ["pointerup", "pointercancel"])
    canvas.addEventListener(end, (event) => { if (fingers.delete(event.pointerId)) say(); });
  canvas.addEventListener("wheel", (event) => {
    if (document.activeElement !== canvas) return;
    event.preventDefault(); view.zoom *= Math.exp(-event.deltaY / 500); redraw();
  }, { passive: false });
  new ResizeObserver(() => {
    canvas.width = canvas.height = Math.max(Math.round(canvas.clientWidth * Math.min(devicePixelRatio, 2)), 1); draw();
  }).observe(canvas);
}
"""


def piece(clouds: Sequence[tuple[str, PointCloud]]) -> str:
    """The HTML of a viewer of clouds, each with its name, that have one label map, or none.

    Positions are kept to a 32,767th of the distance of the farthest point from the middle.

    Raises ValueError: there is no cloud, or one without a point.
    """
    if not clouds or any(not len(cloud.points) for _, cloud in clouds):
        raise ValueError("a viewer needs clouds with points: leave out what is empty")
    label_map = clouds[0][1].label_map
    used = sorted({int(label) for _, cloud in clouds for label in np.unique(cloud.labels)})
    palette = {} if label_map is None else {label: label_map.palette[label].tolist() for label in used}
    data = json.dumps({"clouds": [_packed(cloud) for _, cloud in clouds], "palette": palette}, separators=(",", ":"))
    hint = "Drag, or use the arrow keys, to turn it; + and − or two fingers to enlarge it, 0 to turn it back."
    return "\n".join(
        [
            f'<figure class="cloud">\n<div class="controls">{_choice([name for name, _ in clouds])}{_modes(label_map)}',
            '<span><button type="button" value="farther" aria-label="Make smaller">−</button>',
            '<button type="button" value="nearer" aria-label="Enlarge">+</button>',
            '<button type="button" value="back">Turn back</button></span></div>',
            f'<canvas tabindex="0" role="application" aria-label="Point cloud. {hint}"></canvas>',
            f"<figcaption>{hint} <output></output></figcaption>{_legend(label_map, used)}",
            "<noscript><p>The cloud is drawn by a script, which this browser does not run.</p></noscript>",
            f'<script type="application/json">{data}</script>\n<script>"use strict";{_SCRIPT}</script>\n</figure>',
        ]
    )


def _packed(cloud: PointCloud) -> str:
    """Of N points 6 N bytes of places, 3 N of colours and N of labels, in letters."""
    middle = (cloud.points.min(axis=0) + cloud.points.max(axis=0)) / 2
    offsets = cloud.points - middle
    reach = max(float(np.linalg.norm(offsets, axis=-1).max()), 1e-9)
    places = np.round(offsets / reach * 32767).astype("<i2")
    parts = (places, cloud.colors.astype(np.uint8), cloud.labels.astype(np.uint8))
    return base64.b64encode(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).decode("ascii")


def _choice(names: Sequence[str]) -> str:
    options = "".join(f'<option value="{place}">{html.escape(name)}</option>' for place, name in enumerate(names))
    return f"<label>Object <select>{options}</select></label>"


def _modes(label_map: LabelMap | None) -> str:
    if label_map is None:
        return ""
    entries = [("labels", "labels", " checked"), ("colors", "colours", "")]
    inputs = "".join(
        f'<label><input type="radio" name="cloud-mode" value="{value}"{checked}>{text}</label>'
        for value, text, checked in entries
    )
    return f"<fieldset><legend>Show</legend>{inputs}</fieldset>"


def _legend(label_map: LabelMap | None, used: Sequence[int]) -> str:
    if label_map is None:
        return ""
    entries = []
    for label in used:
        name = label_map.names[label] if label < label_map.num_classes else "unknown"
        color = "rgb({}, {}, {})".format(*label_map.palette[label].tolist())
        swatch = f'<span class="swatch" style="background: {color}"></span>'
        entries.append(f'<label><input type="checkbox" value="{label}" checked>{swatch}{html.escape(name)}</label>')
    return f'<fieldset class="classes"><legend>Classes</legend>{"".join(entries)}</fieldset>'
