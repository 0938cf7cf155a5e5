// The list of requests: only the rows that can be seen are in the document, so a thousand cost no more than ten.

import { h, say, seconds, bytes, coalesced } from "./dom.js";
import { endingOf } from "./timeline.js";

export const ROW = 54;
const SPARE = 6;

/** The list in `place`, a scrolling box; `chosen(id)` is called when a person picks a request. */
export class RequestList {
  constructor(place, chosen) {
    this.place = place;
    this.chosen = chosen;
    this.all = new Map();
    this.shown = [];
    this.filter = "";
    this.selected = null;
    this.rows = new Map();
    this.track = h("div.track", { role: "presentation" });
    place.replaceChildren(this.track);
    this.render = coalesced(() => this.draw());
    place.addEventListener("scroll", this.render, { passive: true });
    place.addEventListener("keydown", (event) => this.key(event));
    place.addEventListener("click", (event) => {
      const row = event.target.closest("[data-id]");
      if (row) this.chosen(Number(row.dataset.id));
    });
    new ResizeObserver(this.render).observe(place);
  }

  clear() {
    this.all.clear();
    this.update();
  }

  /** Take in what has changed. Rows that a person has scrolled to stay where they are. */
  change(changed, gone) {
    for (const summary of changed) this.all.set(summary.id, summary);
    for (const id of gone) this.all.delete(id);
    const before = this.shown.length;
    this.update();
    if (this.place.scrollTop > ROW / 2) this.place.scrollTop += (this.shown.length - before) * ROW;
  }

  search(text) {
    this.filter = text.trim().toLowerCase();
    this.update();
  }

  update() {
    const wanted = this.filter;
    const found = [];
    for (const summary of this.all.values()) if (!wanted || haystack(summary).includes(wanted)) found.push(summary);
    this.shown = found.sort((left, right) => right.id - left.id);
    this.render();
  }

  select(id) {
    this.selected = id;
    const index = this.shown.findIndex((summary) => summary.id === id);
    if (index >= 0) {
      const { scrollTop, clientHeight } = this.place;
      if (index * ROW < scrollTop) this.place.scrollTop = index * ROW;
      else if ((index + 1) * ROW > scrollTop + clientHeight) this.place.scrollTop = (index + 1) * ROW - clientHeight;
    }
    this.draw();
  }

  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const page = Math.max(1, Math.floor(this.place.clientHeight / ROW) - 1);
    const moves = { ArrowDown: 1, ArrowUp: -1, j: 1, k: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (!(event.key in moves)) return;
    this.move(moves[event.key]);
    event.preventDefault();
    event.stopPropagation();
  }

  /** Select the request that many rows further down. */
  move(by) {
    if (!this.shown.length) return;
    const at = this.shown.findIndex((summary) => summary.id === this.selected);
    const next = at < 0 ? 0 : Math.min(this.shown.length - 1, Math.max(0, at + by));
    this.chosen(this.shown[next].id);
  }

  draw() {
    const { scrollTop, clientHeight } = this.place;
    const first = Math.max(0, Math.floor(scrollTop / ROW) - SPARE);
    const last = Math.min(this.shown.length, Math.ceil((scrollTop + clientHeight) / ROW) + SPARE);
    this.track.style.height = `${this.shown.length * ROW}px`;
    const wanted = new Set();
    for (let index = first; index < last; index++) wanted.add(this.shown[index].id);
    for (const [id, row] of this.rows) {
      if (wanted.has(id)) continue;
      row.element.remove();
      this.rows.delete(id);
    }
    let before = null;
    for (let index = first; index < last; index++) {
      const summary = this.shown[index];
      let row = this.rows.get(summary.id);
      if (!row) {
        row = new Row(summary.id);
        this.rows.set(summary.id, row);
      }
      // In the document they stand as they are seen, for whoever reads them one after the other.
      if (!row.element.isConnected || row.element.previousElementSibling !== before)
        this.track.insertBefore(row.element, before ? before.nextElementSibling : this.track.firstElementChild);
      before = row.element;
      row.show(summary, index, this.shown.length, summary.id === this.selected);
    }
    if (this.rows.has(this.selected)) this.place.setAttribute("aria-activedescendant", `request-${this.selected}`);
    else this.place.removeAttribute("aria-activedescendant");
  }
}

const haystack = (summary) =>
  [summary.id, summary.method, summary.path, summary.model, summary.status, summary.outcome ?? "open", summary.prompt, summary.faults, summary.dialect]
    .join(" ")
    .toLowerCase();

class Row {
  constructor(id) {
    this.status = h("span.status");
    this.title = h("span.title");
    this.meta = h("span.meta");
    this.prompt = h("span.prompt");
    this.element = h("div.row", { role: "option", id: `request-${id}`, "data-id": id }, this.status, this.title, this.meta, this.prompt);
  }

  show(summary, index, count, selected) {
    const { element } = this;
    if (this.index !== index) element.style.transform = `translateY(${index * ROW}px)`;
    this.index = index;
    element.setAttribute("aria-posinset", index + 1);
    element.setAttribute("aria-setsize", count);
    element.setAttribute("aria-selected", String(selected));
    const [tone, words] = stateOf(summary);
    this.status.className = `status ${tone}`;
    say(this.status, String(summary.status ?? "···"));
    say(this.title, summary.model ?? `${summary.method} ${summary.path}`);
    say(this.meta, [words, summary.seconds === null ? bytes(summary.bytes) : seconds(summary.seconds)].filter(Boolean).join(" · "));
    say(this.prompt, [`#${summary.id}`, summary.faults, summary.prompt || summary.path].filter(Boolean).join("  "));
  }
}

/** A request's state in a tone and a word. */
export function stateOf(summary) {
  if (summary.outcome === null) return summary.held ? ["fair", "held"] : ["live", "open"];
  const [tone, words] = endingOf(summary.outcome);
  if (tone !== "good") return [tone, words];
  return summary.status >= 400 ? ["bad", "error"] : ["good", ""];
}
