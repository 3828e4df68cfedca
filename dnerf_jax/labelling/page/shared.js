// What the page knows, and how it tells: one object for all its parts.
import { IGNORE } from "/page/ids.js";

export const $ = (id) => document.getElementById(id);

// pack: what the server says of the folder. job: how far the training is, or the edit. base: of a scene, its own mask.
export const now = {
  pack: null, saver: null, picture: null, size: 0, job: null,
  view: 0, tool: "brush", id: 1, mask: null, base: null, walls: null, doubt: null, turned: null, stroke: null,
  wanted: 0, turns: 0, loading: true, adding: false,
};

export const ofScene = () => now.pack.kind === "scene";

export function tell(text, problem) {
  $("state").textContent = text;
  $("state").style.color = problem ? "#ffb0a0" : "";
}

export function announce(text, action, act) {
  $("banner").hidden = !text;
  $("banner").querySelector("span").textContent = text;
  const button = $("banner").querySelector("button");
  button.hidden = !action;
  button.textContent = action || "";
  button.onclick = act;
}

// What was told is over; what asks for something to be done stays.
export const settle = () => $("banner").querySelector("button").hidden && announce("");

export const hint = (text) => ($("where").textContent = text);

export const className = (id) => {
  if (id !== IGNORE) return now.pack.classes[id].name;
  return ofScene() ? "nothing is wanted" : "not labelled";
};

export async function trying(work) {
  try {
    await work();
  } catch (error) {
    announce(error.message || "the server does not answer");
  }
}
