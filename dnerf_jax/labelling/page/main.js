// The page's start: what the server says is shown, and every button does something.
import { listen } from "/page/input.js";
import { apply, cancel, compare, train, watch } from "/page/jobs.js";
import { chooseTool, complete, redo, undo } from "/page/painting.js";
import { Picture } from "/page/picture.js";
import { $, hint, now, ofScene, tell, trying } from "/page/shared.js";
import { Saver, json } from "/page/store.js";
import { addView, buttons, conflict, listClasses, loadPrediction, loadWalls } from "/page/views.js";
import { marks, openView, other, takeUpUnsaved, turn, undoEdit } from "/page/views.js";

async function start() {
  const pack = await json("/api/pack");
  Object.assign(now, { pack, job: pack.job, size: pack.resolution, id: Math.min(1, pack.classes.length - 1) });
  document.body.dataset.kind = pack.kind;
  document.title = `${ofScene() ? "Editing" : "Labelling"} ${pack.name}`;
  $("name").textContent = pack.name;
  if (ofScene()) {
    document.querySelector("[data-tool=eraser]").title = "Eraser: nothing is wanted there (E)";
    $("add").textContent = "Paint from here";
    $("add").title = "Make what is shown a view to paint on (G)";
    $("predict").textContent = "Fill what was erased";
    $("predict").title = "Fill what was erased with the scene's own mask (N)";
  }
  now.picture = new Picture($("canvas"), now.size, Object.fromEntries(pack.classes.map(({ id, color }) => [id, color])));
  now.saver = new Saver(pack, tell, conflict);
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
    apply: () => trying(apply),
    cancel: () => trying(cancel),
    unedit: () => trying(undoEdit),
    compare: () => trying(compare),
    close: () => $("result").close(),
  };
  for (const [id, act] of Object.entries(acts)) $(id).onclick = act;
  $("opacity").oninput = () => {
    now.picture.opacity = $("opacity").value / 100;
    now.picture.draw();
  };
  $("stop").onchange = () =>
    trying(async () => {
      if (!$("stop").checked) return marks();
      await loadWalls();
      hint("Brush and fill stop at the marked edges");
    });
  $("doubt").onchange = () => trying(async () => ($("doubt").checked ? await loadPrediction() : marks()));
  listen();
  buttons();
  await openView(pack.open);
  if (!now.saver.busy) tell("saved", false);
  await takeUpUnsaved();
  if (now.job.state === "running") await watch();
}

trying(start);
