// The timeline: writes against time, with the first token, stalls, boundaries and the ending drawn in.

import { h, say, seconds, bytes, svg, coalesced } from "./dom.js";

const HEIGHT = 168;
const TOP = 34;
const CURVE = 96;
const LANE = 142;
const SIDE = 10;

/** The pauses that stand out: longer than a quarter of a second and than eight times the usual one. */
export function stallsOf(writes) {
  const gaps = [];
  for (let index = 1; index < writes.length; index++) gaps.push(writes[index].time - writes[index - 1].time);
  const sorted = [...gaps].sort((left, right) => left - right);
  const usual = sorted[Math.floor(sorted.length / 2)] ?? 0;
  const least = Math.max(0.25, 8 * usual);
  return gaps.flatMap((gap, index) => (gap > least ? [{ from: writes[index].time, to: writes[index + 1].time }] : []));
}

const ENDINGS = {
  complete: ["good", "complete"],
  closed: ["bad", "closed within (FIN)"],
  reset: ["bad", "reset (RST)"],
  "client-left": ["fair", "client left"],
  stopped: ["fair", "stopped"],
  failed: ["bad", "failed"],
};

/** How an outcome is shown: [tone, words]. */
export const endingOf = (outcome) => ENDINGS[outcome] ?? ["fair", outcome ?? ""];

/** Round numbers for an axis of so many seconds, about `most` of them. */
function ticks(span, most) {
  const raw = span / most;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= raw) ?? raw;
  const found = [];
  for (let at = 0; at <= span * 1.0001; at += step) found.push(at);
  return found;
}

/**
 * A timeline in `place`. `show(view)` draws it: `reading` (a Reading), `now` (seconds, while it is open), `ending`
 * ([tone, words] or null), `held`. `chosen(index)` is called when a write is picked.
 */
export class Timeline {
  constructor(place, { chosen = () => {}, label = "Timeline of the writes" } = {}) {
    this.place = place;
    this.chosen = chosen;
    this.view = null;
    this.picked = -1;
    this.follow = true;
    this.note = h("p.timeline-note", { "aria-hidden": "true" });
    this.plot = h("div.timeline-plot", {
      role: "slider",
      tabindex: "0",
      "aria-label": label,
      "aria-valuemin": "0",
      "aria-valuemax": "0",
      "aria-valuenow": "0",
      "aria-valuetext": "nothing yet",
      onkeydown: (event) => this.key(event),
      onpointermove: (event) => this.point(event),
      onpointerleave: () => this.pick(-1),
      onclick: () => this.picked >= 0 && this.chosen(this.picked),
    });
    place.replaceChildren(this.plot, this.note);
    this.redraw = coalesced(() => this.draw());
    new ResizeObserver(this.redraw).observe(this.plot);
  }

  show(view) {
    if (this.view?.reading !== view?.reading) this.picked = -1;
    this.view = view;
    this.redraw();
  }

  x(time) {
    return SIDE + (time / this.span) * (this.width - 2 * SIDE);
  }

  draw() {
    const { view } = this;
    this.width = this.plot.clientWidth;
    if (!this.width) return;
    const writes = view?.reading.writes ?? [];
    const last = writes.at(-1)?.time ?? 0;
    this.span = Math.max(last * 1.02, view?.now ?? 0, view?.until ?? 0, 0.02);
    const picture = svg("svg", { viewBox: `0 0 ${this.width} ${HEIGHT}`, width: this.width, height: HEIGHT, "aria-hidden": "true", focusable: "false" });
    this.axis(picture);
    if (view && writes.length) {
      this.bands(picture, view);
      this.curve(picture, view.reading);
      this.lane(picture, writes, view.reading);
      this.end(picture, view, last);
    }
    this.cross = svg("line.cross", { y1: TOP - 6, y2: LANE, visibility: "hidden" });
    picture.append(this.cross);
    this.plot.replaceChildren(picture);
    this.plot.setAttribute("aria-valuemax", String(Math.max(0, writes.length - 1)));
    this.mark();
  }

  axis(picture) {
    const most = Math.max(2, Math.floor(this.width / 90));
    for (const at of ticks(this.span, most)) {
      const x = this.x(at);
      if (x > this.width - SIDE + 1) continue;
      const anchor = at === 0 ? "start" : x > this.width - 30 ? "end" : "middle";
      picture.append(
        svg("line.grid", { x1: x, x2: x, y1: TOP - 6, y2: LANE + 4 }),
        svg("text.tick", { x, y: HEIGHT - 8, "text-anchor": anchor }, at === 0 ? "0" : seconds(at)),
      );
    }
    picture.append(svg("line.base", { x1: SIDE, x2: this.width - SIDE, y1: LANE, y2: LANE }));
  }

  bands(picture, { reading, held, now }) {
    const { firstSaid, writes } = reading;
    if (firstSaid !== null) {
      const x = this.x(firstSaid);
      picture.append(
        svg("rect.wait", { x: SIDE, y: TOP, width: Math.max(0, x - SIDE), height: LANE - TOP }),
        svg("line.first", { x1: x, x2: x, y1: TOP - 6, y2: LANE }),
        this.label("first-label", x, 12, `TTFT ${seconds(firstSaid)}`),
      );
    }
    const stalls = stallsOf(writes);
    const last = writes.at(-1).time;
    if (held && now > last) stalls.push({ from: last, to: now, words: "held" });
    for (const { from, to, words } of stalls) {
      const [left, right] = [this.x(from), this.x(to)];
      picture.append(svg("rect.stall", { x: left, y: TOP, width: right - left, height: LANE - TOP }));
      const text = `${words ?? "stall"} ${seconds(to - from)}`;
      if (right - left > text.length * 6.4)
        picture.append(svg("text.stall-label", { x: (left + right) / 2, y: 28, "text-anchor": "middle" }, text));
    }
  }

  label(kind, x, y, text) {
    const width = text.length * 6.6;
    const anchor = x + width > this.width - 4 ? "end" : "start";
    return svg(`text.${kind}`, { x: anchor === "end" ? Math.min(x + 4, this.width - 4) : Math.max(x - 3, 4), y, "text-anchor": anchor }, text);
  }

  /** How much had been said by when: a line that climbs with every delta. */
  curve(picture, reading) {
    const said = reading.events.filter((event) => event.said.length);
    if (said.length < 2) return;
    const y = (count) => CURVE - (count / said.length) * (CURVE - TOP - 4);
    let path = `M${this.x(said[0].time).toFixed(1)} ${CURVE}`;
    let before = -1;
    said.forEach((event, index) => {
      const x = this.x(event.time);
      // Points closer than half a pixel are one point: a long stream stays a short path.
      if (x - before < 0.5 && index < said.length - 1) return;
      before = x;
      path += `H${x.toFixed(1)}V${y(index + 1).toFixed(1)}`;
    });
    picture.append(
      svg("path.area", { d: `${path}V${CURVE}Z` }),
      svg("path.curve", { d: path, fill: "none" }),
    );
  }

  lane(picture, writes, reading) {
    const largest = Math.log1p(Math.max(...writes.slice(0, 5000).map((write) => write.size), 1));
    const paths = { whole: "", event: "", character: "" };
    const drawn = {};
    let late = "";
    for (const write of writes) {
      const x = Math.round(this.x(write.time) * 2) / 2;
      const kind = write.cut ?? "whole";
      const height = 6 + 22 * (Math.log1p(write.size) / largest);
      if (drawn[kind] === x && kind === "whole") continue;
      drawn[kind] = x;
      paths[kind] += `M${x} ${LANE}V${(LANE - height).toFixed(1)}`;
      if (write.deadline !== undefined && write.time - write.deadline > 0.03) late += `M${this.x(write.deadline).toFixed(1)} ${LANE + 3}H${x}`;
    }
    for (const [kind, d] of Object.entries(paths)) if (d) picture.append(svg(`path.write.${kind}`, { d }));
    if (late) picture.append(svg("path.late", { d: late }));
    let events = "";
    let before = -9;
    for (const event of reading.events) {
      const x = this.x(event.time);
      if (x - before < 3) continue;
      before = x;
      events += `M${x.toFixed(1)} ${LANE - 36}m-1.5 0a1.5 1.5 0 1 0 3 0a1.5 1.5 0 1 0 -3 0`;
    }
    if (events) picture.append(svg("path.boundary", { d: events }));
  }

  end(picture, { ending, until }, last) {
    if (!ending) return;
    const [tone, words] = ending;
    const x = this.x(Math.max(last, until ?? 0));
    picture.append(
      svg(`line.end.${tone}`, { x1: x, x2: x, y1: TOP - 14, y2: LANE + 4 }),
      svg(`path.end-mark.${tone}`, { d: `M${x - 5} ${TOP - 14}h10l-5 8z` }),
      svg(`text.end-label.${tone}`, { x: Math.min(x + 5, this.width - 3), y: 15, "text-anchor": "end" }, words),
    );
  }

  point(event) {
    const writes = this.view?.reading.writes ?? [];
    if (!writes.length) return;
    const box = this.plot.getBoundingClientRect();
    const time = ((event.clientX - box.left - SIDE) / (this.width - 2 * SIDE)) * this.span;
    let low = 0;
    let high = writes.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (writes[middle].time < time) low = middle + 1;
      else high = middle;
    }
    if (low > 0 && time - writes[low - 1].time < writes[low].time - time) low -= 1;
    this.pick(low);
  }

  key(event) {
    const count = this.view?.reading.writes.length ?? 0;
    const moves = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10, Home: -Infinity, End: Infinity };
    if (event.key === "Enter" && this.picked >= 0) this.chosen(this.picked);
    else if (event.key in moves && count) this.pick(Math.min(count - 1, Math.max(0, this.picked + moves[event.key])));
    else return;
    event.preventDefault();
  }

  pick(index) {
    this.picked = index;
    this.mark();
  }

  mark() {
    const writes = this.view?.reading.writes ?? [];
    const write = writes[this.picked];
    let text = "";
    if (write) {
      const gap = write.time - (writes[this.picked - 1]?.time ?? 0);
      const cut = { event: ", ends within an event", character: ", ends within a character" }[write.cut] ?? "";
      text = `Write ${this.picked + 1} of ${writes.length}: at ${seconds(write.time)}, after ${seconds(gap)}, ${bytes(write.size)}${cut}`;
    } else if (writes.length) {
      text = `${writes.length} ${writes.length === 1 ? "write" : "writes"} in ${seconds(writes.at(-1).time)}`;
    }
    say(this.note, text);
    this.plot.setAttribute("aria-valuenow", String(Math.max(0, this.picked)));
    this.plot.setAttribute("aria-valuetext", text || "nothing yet");
    if (!this.cross) return;
    this.cross.setAttribute("visibility", write ? "visible" : "hidden");
    if (write) for (const end of ["x1", "x2"]) this.cross.setAttribute(end, String(this.x(write.time)));
  }
}
