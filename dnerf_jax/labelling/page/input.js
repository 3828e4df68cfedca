// Mouse, pen and keys.
import { begin, chooseTool, closePolygon, diameter, end, go, leavePolygon, redo, undo } from "/page/painting.js";
import { $, className, hint, now, trying } from "/page/shared.js";
import { chooseClass, openView, other } from "/page/views.js";

const toggled = (id) => {
  if (!$(id).disabled && $(id).offsetParent) $(id).click(); // not of what is hidden
};
const brushBy = (by) => ($("size").value = diameter() + by);
const opacityBy = (by) => {
  $("opacity").value = Number($("opacity").value) + by;
  $("opacity").oninput();
};
const KEYS = {
  b: () => chooseTool("brush"),
  e: () => chooseTool("eraser"),
  p: () => chooseTool("polygon"),
  f: () => chooseTool("fill"),
  i: () => chooseTool("pick"),
  h: () => chooseTool("pan"),
  "Ctrl+z": undo,
  z: undo,
  "Ctrl+y": redo,
  "Ctrl+Shift+z": redo,
  "[": () => brushBy(-1),
  "]": () => brushBy(1),
  "+": () => now.picture.zoom(1.25),
  "=": () => now.picture.zoom(1.25),
  "-": () => now.picture.zoom(0.8),
  home: () => now.picture.fit(),
  o: () => opacityBy(-10),
  "Shift+o": () => opacityBy(10),
  ",": () => other(-1),
  ".": () => other(1),
  l: () => toggled("stop"),
  u: () => toggled("doubt"),
  a: () => toggled("left"),
  d: () => toggled("right"),
  w: () => toggled("up"),
  s: () => toggled("down"),
  g: () => toggled("add"),
  c: () => toggled("carry"),
  n: () => toggled("predict"),
  t: () => toggled("train"),
  "Ctrl+enter": () => toggled("apply"),
  r: () => toggled("unedit"),
  v: () => toggled("compare"),
  escape: () => (now.picture.corners.length ? leavePolygon() : now.turned && trying(() => openView(now.view))),
};

export function listen() {
  const { picture, size, saver } = now;
  const canvas = $("canvas");
  let panning = null;
  canvas.onpointerdown = (event) => {
    canvas.setPointerCapture(event.pointerId);
    canvas.focus();
    if (event.button === 1 || now.tool === "pan" || held) panning = [event.clientX, event.clientY];
    else if (event.button === 0) begin(...picture.place(event));
    event.preventDefault();
  };
  canvas.onpointermove = (event) => {
    if (panning) {
      picture.pan(event.clientX - panning[0], event.clientY - panning[1]);
      panning = [event.clientX, event.clientY];
      return;
    }
    const events = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
    for (const each of events.length ? events : [event]) go(...picture.place(each));
    const [x, y] = picture.place(event).map(Math.floor);
    if (x >= 0 && y >= 0 && x < size && y < size && now.mask && !now.turned)
      hint(`${x}, ${y}: ${className(now.mask[y * size + x])}`);
    picture.cursor = [x, y, now.tool === "brush" || now.tool === "eraser" ? diameter() : 1];
    picture.draw();
  };
  canvas.onpointerup = canvas.onpointercancel = () => {
    panning = null;
    end();
  };
  canvas.ondblclick = () => now.tool === "polygon" && closePolygon();
  canvas.onwheel = (event) => {
    const box = canvas.getBoundingClientRect();
    picture.zoom(Math.exp(-event.deltaY / 400), event.clientX - box.left, event.clientY - box.top);
    event.preventDefault();
  };
  let held = false;
  window.onkeyup = (event) => {
    if (event.key === " ") held = false;
  };
  window.onkeydown = (event) => {
    if ($("result").open) return; // Escape closes it
    const onCanvas = document.activeElement === canvas;
    if (event.target instanceof HTMLInputElement && event.target.type === "range" && event.key.startsWith("Arrow")) return;
    if (event.key === " " && onCanvas) {
      held = true;
      event.preventDefault();
      return;
    }
    if (onCanvas && !event.ctrlKey && keyboardCursor(event)) return event.preventDefault();
    const digit = event.code.match(/^Digit(\d)$/);
    const key = (event.ctrlKey || event.metaKey ? "Ctrl+" : "") + (event.shiftKey ? "Shift+" : "") + event.key.toLowerCase();
    if (digit && !event.ctrlKey && !event.altKey) chooseClass(Number(digit[1]) + (event.shiftKey ? 10 : 0));
    else if (KEYS[key] && !event.altKey) KEYS[key]();
    else return;
    event.preventDefault();
  };
  window.onbeforeunload = (event) => {
    end();
    if (saver.waiting.size) event.preventDefault();
  };
  window.onpagehide = end;
}

// Arrow keys move the cursor, by ten with Shift; Enter applies the tool there, or closes the polygon with Shift.
function keyboardCursor(event) {
  const { picture, size } = now;
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const [x, y] = picture.cursor || [size >> 1, size >> 1];
  const move = moves[event.key];
  if (move) {
    const far = event.shiftKey ? 10 : 1;
    const [u, v] = [x + far * move[0], y + far * move[1]].map((c) => Math.max(0, Math.min(size - 1, c)));
    picture.cursor = [u, v, now.tool === "brush" || now.tool === "eraser" ? diameter() : 1];
    picture.draw();
    if (now.mask) hint(`${u}, ${v}: ${className(now.mask[v * size + u])}`);
  } else if (event.key === "Enter" && now.tool === "polygon" && (event.shiftKey || picture.corners.length > 2)) {
    closePolygon();
  } else if (event.key === "Enter") {
    begin(x + 0.5, y + 0.5);
    end();
  } else return false;
  return true;
}
