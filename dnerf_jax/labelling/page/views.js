// Which view is shown, from where, with what marked; the lists of views and classes, and which buttons can be pressed.
import { IGNORE } from "/page/ids.js";
import { end, historyOf, leavePolygon, walls } from "/page/painting.js";
import { $, announce, className, hint, now, ofScene, trying } from "/page/shared.js";
import { ask, bytes, json, picture as fetched } from "/page/store.js";

const ADDING = "What was shown is being made a view: the first takes a while.";
const UNSAVED = "This view was changed since this browser painted on it: Undo brings back what was not saved.";

export async function openView(view) {
  end();
  leavePolygon();
  const turn = ++now.turns;
  Object.assign(now, { wanted: view, loading: true });
  let mask, image, own;
  try {
    const said = ofScene() ? bytes(`/api/views/${view}/prediction`) : null;
    [mask, image, own] = await Promise.all([now.saver.load(view), fetched(`/api/views/${view}/image`), said]);
  } catch (error) {
    if (turn === now.turns) Object.assign(now, { wanted: now.view, loading: false });
    throw error;
  }
  if (turn !== now.turns) return; // another one was asked for meanwhile
  const base = own && own.subarray(0, now.size ** 2);
  Object.assign(now, { view, mask, base, turned: null, walls: null, doubt: null, loading: false });
  now.picture.image = image;
  now.picture.show(mask);
  now.picture.mark(null, null);
  const unsaved = now.saver.takeOlder(view);
  historyOf(view).undo.push(...unsaved);
  announce(unsaved.length ? UNSAVED : now.adding ? ADDING : "");
  hint(ofScene() ? titleOf(now.pack.views[view]) : `View ${view}, latent ${now.pack.views[view].latent}`);
  buttons();
  listViews();
  if (ofScene()) await ask(`/api/views/${view}/open`, { method: "POST" });
  if ($("stop").checked) await loadWalls();
  if ($("doubt").checked) await loadPrediction();
}

export async function loadWalls() {
  const { view } = now;
  const found = now.walls || (await bytes(`/api/views/${view}/edges`));
  if (view === now.view) now.walls = found;
  marks();
}

export async function loadPrediction() {
  const { view } = now;
  const found = await bytes(`/api/views/${view}/prediction`);
  if (view === now.view) now.doubt = found.subarray(now.size * now.size);
  marks();
}

export function marks() {
  now.picture.mark($("doubt").checked && !now.turned ? now.doubt : null, now.turned ? null : walls());
}

const tenth = (degrees) => Math.round(10 * degrees) / 10;
const at = ({ yaw, pitch }) => `/api/views/${now.view}/turned?yaw=${yaw}&pitch=${pitch}`;

export async function turn(yaw, pitch) {
  if (now.loading) return;
  end();
  const { view, size } = now;
  const own = now.pack.views[view];
  const place = now.turned || own;
  const next = {
    yaw: tenth(Math.max(-180, Math.min(180, place.yaw + yaw))),
    pitch: tenth(Math.max(-85, Math.min(85, place.pitch + pitch))),
  };
  now.turned = next;
  buttons();
  hint("Turning");
  const found = await bytes(at(next));
  if (view !== now.view || now.turned !== next) return;
  const pixels = new ImageData(size, size);
  for (let p = 0; p < size * size; p++) pixels.data.set([found[3 * p], found[3 * p + 1], found[3 * p + 2], 255], 4 * p);
  now.picture.image = await createImageBitmap(pixels);
  now.picture.show(found.subarray(3 * size * size));
  marks();
  const [labels, action] = ofScene() ? ["the scene's own mask", "paints"] : ["the labels carried there", "labels"];
  hint(`Seen from ${next.yaw} degrees to the side, ${next.pitch} above, with ${labels}: G ${action} from there, ` +
    "Escape goes back");
}

export async function addView() {
  const { turned, turns } = now;
  if (!turned || now.adding) return;
  const known = now.pack.views.length;
  now.adding = true;
  buttons();
  announce(ADDING);
  try {
    const { index } = await json(at(turned), { method: "POST" });
    now.adding = false;
    await takeUp();
    const told = index < known ? `That is view ${index}, which is there already.` : "";
    // Who went on meanwhile, or paints, is not taken away from there.
    if (turned === now.turned && turns === now.turns && !now.stroke) {
      await openView(index);
      if (told) announce(told);
    } else announce(told || `View ${index} is made of what was shown.`, "Show it", () => trying(() => openView(index)));
  } finally {
    now.adding = false;
    listViews();
    buttons();
  }
}

// What the server has by now: views that came since are in the list.
export async function takeUp() {
  const fresh = await json("/api/pack");
  for (let index = now.pack.views.length; index < fresh.views.length; index++) {
    now.pack.views.push(fresh.views[index]);
    now.saver.versions[index] = fresh.views[index].version;
  }
}

function titleOf({ scene, own, yaw, pitch }) {
  return `${scene === null ? "Start" : `Edit ${scene}`}${own ? "" : `, from ${yaw}, ${pitch}`}`;
}

function shareOf(mask, base) {
  const differs = base ? (id, p) => id !== base[p] : (id) => id !== IGNORE;
  return mask.reduce((sum, id, p) => sum + differs(id, p), 0) / mask.length;
}

// Saves what an earlier page in this browser painted, and could not.
export async function takeUpUnsaved() {
  for (const index of now.saver.unsaved()) {
    const mask = await now.saver.load(index);
    if (!ofScene()) now.pack.views[index].share = shareOf(mask);
  }
  listViews();
}

export function listViews() {
  const { pack, mask, base } = now;
  if (mask) pack.views[now.view].share = shareOf(mask, base);
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
    const share = view.share ?? view.labelled;
    const text = share ? `${Math.floor(100 * share) || "<1"} %` : "";
    if (ofScene()) button.textContent = `${titleOf(view)}${text && `: ${text} painted`}`;
    else button.textContent = `${index}: ${text || "not labelled"}`;
    if (index === now.view) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  });
}

export const other = (by) =>
  trying(() => openView((now.wanted + by + now.pack.views.length) % now.pack.views.length));

// Back to the mask from which the scene of the view was made.
export async function undoEdit() {
  const { from } = now.pack.views[now.view];
  if (from !== null) await openView(from);
}

export function conflict(index, mine) {
  announce(`View ${index} was changed in another tab, and what you painted since is not saved.`, "Load the other", () =>
    trying(async () => {
      const { undo: steps } = historyOf(index);
      await openView(index);
      steps.push(mine);
      announce("The other tab's labels are shown. Undo brings yours back.");
    }),
  );
}

export function chooseClass(id) {
  if (id >= now.pack.classes.length)
    return hint(`There is no class ${id}: the last is ${now.pack.classes.length - 1}, ${now.pack.classes.at(-1).name}`);
  now.id = id;
  if (now.tool === "eraser" || now.tool === "pick") now.tool = "brush";
  buttons();
  hint(`class ${className(id)}`);
}

export function buttons() {
  for (const button of $("tools").children) button.setAttribute("aria-pressed", button.dataset.tool === now.tool);
  [...$("classes").children].forEach((button, id) => {
    button.setAttribute("aria-checked", id === now.id);
    button.tabIndex = id === now.id ? 0 : -1;
  });
  const turned = Boolean(now.turned), running = now.job.state === "running", view = now.pack.views[now.view];
  $("back").disabled = !turned;
  $("add").disabled = !turned || now.adding;
  for (const id of ["undo", "redo", "carry"]) $(id).disabled = turned;
  for (const id of ["predict", "doubt"]) $(id).disabled = turned || !(ofScene() || now.job.branch);
  for (const id of ["train", "apply"]) $(id).disabled = running || (id === "apply" && turned);
  $("unedit").disabled = !ofScene() || view.from === null;
  $("compare").disabled = !ofScene() || !view.result;
  $("cancel").disabled = !running;
}

export function listClasses() {
  now.pack.classes.forEach(({ id, name, color }) => {
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
