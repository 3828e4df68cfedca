import { IGNORE, completed, fill, line, polygon, stamp } from "/page/ids.js";
import { Picture } from "/page/picture.js";
import { Saver, bytes, json, picture as fetched } from "/page/store.js";

const $ = (id) => document.getElementById(id);
const STEPS = 100; // that can be undone, of each view
const now = { view: 0, tool: "brush", id: 1, mask: null, walls: null, doubt: null, turned: null, stroke: null, wanted: 0, turns: 0, loading: true };
const histories = new Map(); // view -> { undo: [masks], redo: [masks] }
let pack, saver, picture, size, training;

function tell(text, problem) {
  $("state").textContent = text;
  $("state").style.color = problem ? "#ffb0a0" : "";
}

function announce(text, action, act) {
  $("banner").hidden = !text;
  $("banner").querySelector("span").textContent = text;
  const button = $("banner").querySelector("button");
  button.hidden = !action;
  button.textContent = action || "";
  button.onclick = act;
}

const hint = (text) => ($("where").textContent = text);
const className = (id) => (id === IGNORE ? "not labelled" : pack.classes[id].name);

async function trying(work) {
  try {
    await work();
  } catch (error) {
    announce(error.message || "the server does not answer");
  }
}

// History, and every change of a mask

function historyOf(view) {
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
  saver.save(now.view, now.mask);
  picture.show(now.mask);
  listViews();
}

function step(from, to) {
  const history = historyOf(now.view);
  if (now.turned || now.stroke || now.loading || !history[from].length) return;
  history[to].push(now.mask);
  now.mask = history[from].pop();
  store();
}

const undo = () => step("undo", "redo");
const redo = () => step("redo", "undo");

// Tools

const walls = () => ($("stop").checked ? now.walls : null);
const editable = () => now.mask && !now.turned && !now.loading;
const painted = () => (now.tool === "eraser" ? IGNORE : now.id);
const diameter = () => Number($("size").value);

function begin(x, y) {
  const [u, v] = [Math.floor(x), Math.floor(y)];
  const inside = u >= 0 && v >= 0 && u < size && v < size;
  if (!editable()) return hint(now.turned ? "This is a look from elsewhere: G labels from here, Escape goes back." : "");
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

function go(x, y) {
  if (!now.stroke) return;
  const [u, v] = [Math.floor(x), Math.floor(y)];
  for (const [a, b] of line(...now.stroke.last, u, v)) stamp(now.mask, size, a, b, diameter(), painted(), walls());
  now.stroke.last = [u, v];
  picture.show(now.mask);
}

function end() {
  if (!now.stroke) return;
  const { before } = now.stroke;
  now.stroke = null;
  changed(before);
}

function closePolygon() {
  if (picture.corners.length > 2 && editable()) {
    const before = now.mask;
    now.mask = before.slice();
    polygon(now.mask, size, picture.corners, now.id);
    changed(before);
  }
  leavePolygon();
}

function leavePolygon() {
  picture.corners = [];
  picture.draw();
}

async function complete(path, what) {
  const { view } = now;
  const found = await bytes(`/api/views/${view}/${path}`);
  if (view !== now.view || !editable() || now.stroke) return;
  const others = found.subarray(0, size * size);
  const before = now.mask;
  now.mask = completed(before, others);
  changed(before);
  const count = now.mask.reduce((sum, id, p) => sum + (id !== before[p]), 0);
  hint(`${what}: ${count} pixels were labelled`);
}

// Views

async function openView(view) {
  end();
  leavePolygon();
  const turn = ++now.turns;
  Object.assign(now, { wanted: view, loading: true });
  let mask, image;
  try {
    [mask, image] = await Promise.all([saver.load(view), fetched(`/api/views/${view}/image`)]);
  } catch (error) {
    if (turn === now.turns) Object.assign(now, { wanted: now.view, loading: false });
    throw error;
  }
  if (turn !== now.turns) return; // another one was asked for meanwhile
  Object.assign(now, { view, mask, turned: null, walls: null, doubt: null, loading: false });
  picture.image = image;
  picture.show(mask);
  picture.mark(null, null);
  announce("");
  hint(`View ${view}, latent ${pack.views[view].latent}`);
  buttons();
  listViews();
  if ($("stop").checked) await loadWalls();
  if ($("doubt").checked) await loadPrediction();
}

async function loadWalls() {
  const { view } = now;
  const found = now.walls || (await bytes(`/api/views/${view}/edges`));
  if (view === now.view) now.walls = found;
  marks();
}

async function loadPrediction() {
  const { view } = now;
  const found = await bytes(`/api/views/${view}/prediction`);
  if (view === now.view) now.doubt = found.subarray(size * size);
  marks();
}

function marks() {
  picture.mark($("doubt").checked && !now.turned ? now.doubt : null, now.turned ? null : walls());
}

const at = ({ yaw, pitch }) => `/api/views/${now.view}/turned?yaw=${yaw}&pitch=${pitch}`;

async function turn(yaw, pitch) {
  if (now.loading) return;
  end();
  const { view } = now;
  const place = now.turned || { yaw: 0, pitch: 0 };
  const next = {
    yaw: Math.max(-180, Math.min(180, place.yaw + yaw)),
    pitch: Math.max(-85, Math.min(85, place.pitch + pitch)),
  };
  now.turned = next;
  buttons();
  hint("turning");
  const found = await bytes(at(next));
  if (view !== now.view || now.turned !== next) return;
  const pixels = new ImageData(size, size);
  for (let p = 0; p < size * size; p++) pixels.data.set([found[3 * p], found[3 * p + 1], found[3 * p + 2], 255], 4 * p);
  picture.image = await createImageBitmap(pixels);
  picture.show(found.subarray(3 * size * size));
  marks();
  hint(`Seen from ${next.yaw} degrees to the side, ${next.pitch} above, with the labels carried there: ` +
    "G labels from here, Escape goes back");
}

async function addView() {
  if (!now.turned) return;
  const { index } = await json(at(now.turned), { method: "POST" });
  const fresh = await json("/api/pack");
  pack.views = fresh.views;
  saver.versions[index] = fresh.views[index].version;
  await openView(index);
}

function listViews() {
  if (now.mask) {
    const view = pack.views[now.view];
    view.labelled = now.mask.reduce((sum, id) => sum + (id !== IGNORE), 0) / now.mask.length;
  }
  const list = $("views");
  while (list.children.length > pack.views.length) list.lastChild.remove();
  pack.views.forEach((view, index) => {
    if (!list.children[index]) {
      const button = document.createElement("button");
      button.onclick = () => trying(() => openView(index));
      list.append(document.createElement("li"));
      list.lastChild.append(button);
    }
    const button = list.children[index].firstChild;
    const share = Math.floor(100 * view.labelled);
    button.textContent = `${index}: ${view.labelled ? `${share || "<1"} %` : "not labelled"}`;
    if (index === now.view) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  });
}

const other = (by) => trying(() => openView((now.wanted + by + pack.views.length) % pack.views.length));

// Classes and buttons

function chooseTool(tool) {
  if (tool !== "polygon") leavePolygon();
  now.tool = tool;
  buttons();
}

function chooseClass(id) {
  if (id >= pack.classes.length) return;
  now.id = id;
  if (now.tool === "eraser" || now.tool === "pick") now.tool = "brush";
  buttons();
  hint(`class ${className(id)}`);
}

function buttons() {
  for (const button of $("tools").children) button.setAttribute("aria-pressed", button.dataset.tool === now.tool);
  [...$("classes").children].forEach((button, id) => {
    button.setAttribute("aria-checked", id === now.id);
    button.tabIndex = id === now.id ? 0 : -1;
  });
  for (const id of ["add", "back"]) $(id).disabled = !now.turned;
  for (const id of ["undo", "redo", "carry"]) $(id).disabled = Boolean(now.turned);
  for (const id of ["predict", "doubt"]) $(id).disabled = Boolean(now.turned) || !training.branch;
}

function listClasses() {
  pack.classes.forEach(({ id, name, color }) => {
    const button = document.createElement("button");
    button.setAttribute("role", "radio");
    const swatch = document.createElement("canvas");
    swatch.width = swatch.height = 1;
    const c = swatch.getContext("2d");
    c.fillStyle = `rgb(${color})`;
    c.fillRect(0, 0, 1, 1);
    const key = document.createElement("kbd");
    key.textContent = id < 10 ? id : id < 20 ? `Shift+${id - 10}` : "";
    button.append(swatch, name, key);
    button.onclick = () => chooseClass(id);
    $("classes").append(button);
  });
}

// Training

async function watch() {
  const before = training.state;
  training = await json("/api/train");
  const running = training.state === "running";
  $("progress").hidden = !running;
  $("progress").value = training.step / training.steps;
  $("train").disabled = running;
  $("training").textContent = running
    ? training.step ? `step ${training.step} of ${training.steps}` : "preparing"
    : training.state === "failed" ? `it failed: ${training.reason}` : training.state === "done" ? "trained" : "";
  if (before === "running" && training.state === "done" && $("doubt").checked && !now.turned) await loadPrediction();
  buttons();
  if (running) setTimeout(() => trying(watch), 1000);
}

async function train() {
  training = await json("/api/train", { method: "POST" });
  await watch();
}

// Input

function listen() {
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
    const onCanvas = document.activeElement === canvas;
    if (event.target instanceof HTMLInputElement && event.target.type === "range" && event.key.startsWith("Arrow")) return;
    if (event.key === " " && onCanvas) {
      held = true;
      event.preventDefault();
      return;
    }
    if (onCanvas && keyboardCursor(event)) return event.preventDefault();
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

const toggled = (id) => {
  if (!$(id).disabled) $(id).click();
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
  "+": () => picture.zoom(1.25),
  "=": () => picture.zoom(1.25),
  "-": () => picture.zoom(0.8),
  home: () => picture.fit(),
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
  escape: () => (picture.corners.length ? leavePolygon() : now.turned && trying(() => openView(now.view))),
};

function conflict(index, mine) {
  announce(`View ${index} was changed in another tab, and what you painted since is not saved.`, "Load the other", () =>
    trying(async () => {
      const { undo: steps } = historyOf(index);
      await openView(index);
      steps.push(mine);
      announce("The other tab's labels are shown. Undo brings yours back.");
    }),
  );
}

async function start() {
  pack = await json("/api/pack");
  ({ training, resolution: size } = pack);
  document.title = `Labelling ${pack.name}`;
  $("name").textContent = pack.name;
  picture = new Picture($("canvas"), size, Object.fromEntries(pack.classes.map(({ id, color }) => [id, color])));
  now.id = Math.min(1, pack.classes.length - 1);
  saver = new Saver(pack, tell, conflict);
  listClasses();
  for (const button of $("tools").children) button.onclick = () => chooseTool(button.dataset.tool);
  const acts = {
    undo,
    redo,
    previous: () => other(-1),
    next: () => other(1),
    left: () => trying(() => turn(-5, 0)),
    right: () => trying(() => turn(5, 0)),
    up: () => trying(() => turn(0, 5)),
    down: () => trying(() => turn(0, -5)),
    add: () => trying(addView),
    back: () => trying(() => openView(now.view)),
    carry: () => trying(() => complete("carried", "carried from other views")),
    predict: () => trying(() => complete("prediction", "predicted")),
    train: () => trying(train),
  };
  for (const [id, act] of Object.entries(acts)) $(id).onclick = act;
  $("opacity").oninput = () => {
    picture.opacity = $("opacity").value / 100;
    picture.draw();
  };
  $("stop").onchange = () => trying(async () => ($("stop").checked ? await loadWalls() : marks()));
  $("doubt").onchange = () => trying(async () => ($("doubt").checked ? await loadPrediction() : marks()));
  listen();
  buttons();
  await openView(0);
  tell("saved", false);
  if (training.state === "running") await watch();
}

trying(start);
