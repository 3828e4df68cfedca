// Talks to the server, and saves masks so that no stroke is lost: what the server has not confirmed lies in the
// browser's own storage too, and is sent again until it is confirmed or somebody else's work is in the way.
import { decode, encode } from "/page/ids.js";

const token = location.hash.slice(1) || sessionStorage.getItem("token") || "";
sessionStorage.setItem("token", token);
const SMALL = 60000; // bytes that a request may have which outlives the page

export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

export async function ask(path, options = {}) {
  const headers = { "X-Token": token, ...(options.headers || {}) };
  const answer = await fetch(path, { ...options, headers }).catch(() => {
    throw new Error("The server does not answer: has it ended? What is painted stays in this browser until it is saved.");
  });
  if (!answer.ok) throw new Refused(answer.status, (await answer.text()).trim());
  return answer;
}

export const json = async (path, options) => (await ask(path, options)).json();
export const bytes = async (path) => new Uint8Array(await (await ask(path)).arrayBuffer());
export const picture = async (path) => createImageBitmap(await (await ask(path)).blob());

export class Saver {
  // tell(text, problem): says the state. conflict(index): the mask of a view was changed elsewhere.
  constructor(pack, tell, conflict) {
    Object.assign(this, { pack, tell, conflict, size: pack.resolution });
    this.versions = pack.views.map((view) => view.version);
    this.waiting = new Map(); // view -> mask, the newest that is not confirmed
    this.older = new Map(); // view -> copies that were never confirmed, of masks that are not the server's any more
    this.tab = crypto.getRandomValues(new Uint32Array(1))[0];
    this.busy = false;
  }

  // The browser's copy of a view has the view's key, of its latent and camera, which other packs do not have, and this
  // tab's number.
  name(index) {
    return `labelling:${this.pack.views[index].key}:${this.tab}`;
  }

  // Copies of a view that this browser's tabs left: { name, version, sent, runs }.
  copies(index) {
    const names = Object.keys(localStorage).filter((name) => name.startsWith(`labelling:${this.pack.views[index].key}`));
    return names.map((name) => ({ name, ...JSON.parse(localStorage.getItem(name)) }));
  }

  // The mask and version of a view: from the server, or what it has not got yet of what was painted on that.
  async load(index) {
    if (this.waiting.has(index)) return this.waiting.get(index);
    const answer = await ask(`/api/views/${index}/mask`);
    const mask = new Uint8Array(await answer.arrayBuffer());
    this.versions[index] = answer.headers.get("X-Version");
    const copies = this.copies(index);
    const same = (runs) => unpacked(runs, this.size).every((id, p) => id === mask[p]);
    const fits = ({ version, sent }) => version === this.versions[index] || (sent && same(sent));
    const mine = copies.find(fits);
    this.older.set(index, copies.filter((copy) => copy !== mine));
    if (!mine) return mask;
    const own = unpacked(mine.runs, this.size);
    this.save(index, own);
    localStorage.removeItem(mine.name);
    return own;
  }

  // The views of which this browser has what the server did not confirm, to an earlier page or to another tab.
  unsaved() {
    return [...this.pack.views.keys()].filter((index) => !this.waiting.has(index) && this.copies(index).length);
  }

  // What was painted on older masks of a view and not saved, once.
  takeOlder(index) {
    const copies = this.older.get(index) || [];
    for (const { name } of copies) localStorage.removeItem(name);
    this.older.delete(index);
    return copies.map(({ runs }) => unpacked(runs, this.size));
  }

  save(index, mask) {
    this.waiting.set(index, mask.slice());
    this.keep(index);
    this.tell("saving", false);
    this.send();
  }

  // The browser's copy: the mask, and what the server's is of which it was made: by its version, or what was sent last.
  keep(index) {
    const mask = this.waiting.get(index);
    const sent = this.sent && this.sent.index === index ? packed(this.sent.mask) : null;
    const copy = { version: this.versions[index], sent, runs: packed(mask) };
    try {
      localStorage.setItem(this.name(index), JSON.stringify(copy));
    } catch {
      localStorage.removeItem(this.name(index)); // its storage is full: better no copy than an old one
    }
  }

  // Waits until the mask of a view is on the server's disk. Throws: it was refused.
  async settled(index) {
    while (this.waiting.has(index)) {
      if (!this.busy) throw new Error("the mask is not saved, so it cannot be applied");
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async send() {
    if (this.busy) return;
    this.busy = true;
    while (this.waiting.size) {
      const [index, mask] = this.waiting.entries().next().value;
      try {
        await this.put(index, mask);
      } catch (error) {
        if (error instanceof Refused && error.status === 409) {
          this.waiting.delete(index);
          localStorage.removeItem(this.name(index));
          this.tell("not saved: changed in another tab", true);
          this.conflict(index, mask);
          continue;
        }
        this.tell(`not saved: ${error instanceof Refused ? error.message : "the server does not answer"}`, true);
        if (error instanceof Refused && error.status < 500) break;
        await new Promise((resolve) => setTimeout(resolve, 1000));
        continue;
      }
      if (!this.waiting.size) this.tell("saved", false);
    }
    this.busy = false;
  }

  async put(index, mask) {
    const body = encode(mask);
    const headers = { "X-Version": this.versions[index] };
    const keepalive = body.length < SMALL; // goes out even if the page is closed meanwhile
    this.sent = { index, mask };
    const answer = await json(`/api/views/${index}/mask`, { method: "PUT", body, headers, keepalive });
    this.versions[index] = answer.version;
    this.sent = null;
    if (this.waiting.get(index) === mask) {
      this.waiting.delete(index);
      localStorage.removeItem(this.name(index));
    } else this.keep(index);
  }
}

function packed(mask) {
  let text = "";
  for (const byte of encode(mask)) text += String.fromCharCode(byte);
  return btoa(text);
}

const unpacked = (text, size) => decode(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)), size);
