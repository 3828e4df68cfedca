// Every change of a mask: tools, history, and what is filled in from elsewhere.
import { IGNORE, completed, fill, line, polygon, stamp } from "/page/ids.js";
import { $, hint, now, settle } from "/page/shared.js";
import { bytes } from "/page/store.js";
import { buttons, chooseClass, listViews } from "/page/views.js";

const STEPS = 100; // that can be undone, of each view
const histories = new Map(); // view -> { undo: [masks], redo: [masks] }

export function historyOf(view) {
  if (!histories.has(view)) histories.set(view, { undo: [], redo: [] });
  return histories.get(view);
}

function remember(before) {
  const history = historyOf(now.view);
  history.undo.push(before);
  if (history.undo.length > STEPS) history.undo.shift();
  history.redo = [];
}

function changed(before) {
  if (before.every((id, p) => id === now.mask[p])) return;
  remember(before);
  store();
}

function store() {
  settle();
  now.saver.save(now.view, now.mask);
  now.picture.show(now.mask);
  listViews();
}

function step(from, to) {
  const history = historyOf(now.view);
  if (now.turned || now.stroke || now.loading || !history[from].length) return;
  history[to].push(now.mask);
  now.mask = history[from].pop();
  store();
}

export const undo = () => step("undo", "redo");
export const redo = () => step("redo", "undo");

export const walls = () => ($("stop").checked ? now.walls : null);
export const diameter = () => Number($("size").value);
const editable = () => now.mask && !now.turned && !now.loading;
const painted = () => (now.tool === "eraser" ? IGNORE : now.id);

export function chooseTool(tool) {
  if (tool !== "polygon") leavePolygon();
  now.tool = tool;
  buttons();
}

export function begin(x, y) {
  const { size, picture } = now;
  const [u, v] = [Math.floor(x), Math.floor(y)];
  const inside = u >= 0 && v >= 0 && u < size && v < size;
  if (!editable()) return hint(now.turned ? "This is a look from elsewhere: G paints from there, Escape goes back." : "");
  if (now.tool === "brush" || now.tool === "eraser") {
    now.stroke = { before: now.mask, last: [u, v] };
    now.mask = now.mask.slice();
    stamp(now.mask, size, u, v, diameter(), painted(), walls());
    picture.show(now.mask);
  } else if (now.tool === "fill" && inside) {
    const before = now.mask;
    now.mask = before.slice();
    fill(now.mask, size, u, v, now.id, walls());
    changed(before);
  } else if (now.tool === "pick" && inside) {
    if (now.mask[v * size + u] !== IGNORE) chooseClass(now.mask[v * size + u]);
  } else if (now.tool === "polygon") {
    picture.corners.push([Math.round(2 * x) / 2, Math.round(2 * y) / 2]);
    picture.draw();
  }
}

export function go(x, y) {
  if (!now.stroke) return;
  const [u, v] = [Math.floor(x), Math.floor(y)];
  for (const [a, b] of line(...now.stroke.last, u, v)) stamp(now.mask, now.size, a, b, diameter(), painted(), walls());
  now.stroke.last = [u, v];
  now.picture.show(now.mask);
}

export function end() {
  if (!now.stroke) return;
  const { before } = now.stroke;
  now.stroke = null;
  changed(before);
}

export function closePolygon() {
  if (now.picture.corners.length > 2 && editable()) {
    const before = now.mask;
    now.mask = before.slice();
    polygon(now.mask, now.size, now.picture.corners, now.id);
    changed(before);
  }
  leavePolygon();
}

export function leavePolygon() {
  now.picture.corners = [];
  now.picture.draw();
}

// Fills what is not labelled with what the server has at a path of the view.
export async function complete(path, what) {
  const { view } = now;
  hint("One moment");
  const found = await bytes(`/api/views/${view}/${path}`);
  if (view !== now.view || !editable() || now.stroke) return;
  const others = found.subarray(0, now.size * now.size);
  const before = now.mask;
  now.mask = completed(before, others);
  changed(before);
  const count = now.mask.reduce((sum, id, p) => sum + (id !== before[p]), 0);
  hint(`${what}: ${count} pixels were labelled`);
}
