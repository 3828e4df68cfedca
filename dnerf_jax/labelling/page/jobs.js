// What runs beside the painting: the training of a branch, or the edit of a scene; and what an edit came to.
import { end } from "/page/painting.js";
import { $, announce, now, ofScene, settle, trying } from "/page/shared.js";
import { Refused, json, picture } from "/page/store.js";
import { buttons, listViews, loadPrediction, openView, takeUp } from "/page/views.js";

const DONE = { none: "", done: "", stopped: "stopped" };

export async function watch() {
  const before = now.job.state;
  try {
    now.job = await json("/api/job");
  } catch (error) {
    if (error instanceof Refused) throw error;
    $("job").textContent = "the server does not answer";
    return setTimeout(() => trying(watch), 2000);
  }
  const { state, step, steps, stage, reason } = now.job;
  const running = state === "running";
  $("progress").hidden = !running;
  $("progress").value = steps ? step / steps : 0;
  if (running) $("job").textContent = step ? `${stage ? `${stage}: ` : ""}step ${step} of ${steps}` : "preparing";
  else $("job").textContent = state === "failed" ? `it failed: ${reason}` : state === "done" ? doneText() : DONE[state];
  buttons();
  if (running !== (before === "running")) settle();
  if (running) setTimeout(() => trying(watch), 1000);
  else if (before === "running" && state === "done") await taken();
}

const doneText = () => (ofScene() ? "edited" : "trained");

// The edited scene is shown where nobody paints on meanwhile; else it waits for a click.
async function taken() {
  if (!ofScene()) {
    if ($("doubt").checked && !now.turned) await loadPrediction();
    return;
  }
  await takeUp();
  listViews();
  const { views } = now.pack;
  const made = views.findIndex(({ scene }) => scene === Math.max(...views.map((view) => view.scene)));
  const show = () => trying(async () => {
    await openView(made);
    await compare();
  });
  const { view, mask } = now.edited || {};
  if (!now.edited || (view === now.view && mask === now.mask && !now.turned)) await show();
  else announce(`Edit ${views[made].scene} is done.`, "Show it", show);
}

// Asks the server to begin; until it has, the page shows that it was asked.
async function begin(path, options) {
  const before = now.job;
  now.job = { ...before, state: "running", step: 0 };
  $("job").textContent = "preparing";
  settle();
  buttons();
  try {
    now.job = await json(path, { method: "POST", ...options });
  } catch (error) {
    now.job = before;
    $("job").textContent = "";
    buttons();
    throw error;
  }
  await watch();
}

export const train = () => begin("/api/job");

export async function apply() {
  end();
  const { view, mask } = now;
  await now.saver.settled(view);
  const headers = { "X-Version": now.saver.versions[view] };
  now.edited = { view, mask };
  await begin(`/api/views/${view}/job`, { headers });
}

export async function cancel() {
  await json("/api/job", { method: "DELETE" });
  await watch();
}

// Before and after from the edited view and from two others, and what was measured.
export async function compare() {
  const { view } = now;
  const { scene, result } = now.pack.views[view];
  const image = await picture(`/api/views/${view}/comparison`);
  if (view !== now.view) return;
  const canvas = $("comparison");
  [canvas.width, canvas.height] = [image.width, image.height];
  canvas.getContext("2d").drawImage(image, 0, 0);
  const [before, after] = result.iou;
  const classes = Object.entries(result.per_class).filter(([, iou]) => iou !== null);
  const facts = [
    ["Agreement of the edited classes with what was painted (IoU)", `${before.toFixed(2)} before, ${after.toFixed(2)} after`],
    ["of each", classes.map(([name, iou]) => `${name} ${iou.toFixed(2)}`).join(", ")],
    ["Change of colours outside (0 to 1)", result.outside.toFixed(4)],
    ["Seconds", result.seconds.toFixed(0)],
  ];
  if (result.identity !== null) facts.splice(3, 0, ["Distance of the faces", result.identity.toFixed(2)]);
  $("facts").replaceChildren(
    ...facts.flatMap((pair) => pair.map((text, i) => Object.assign(document.createElement(i ? "dd" : "dt"), { textContent: text }))),
  );
  $("doubts").textContent = result.doubts.map((text) => `Doubt: ${text}.`).join(" ");
  $("edited").textContent = `Edit ${scene}`;
  $("result").showModal();
}
