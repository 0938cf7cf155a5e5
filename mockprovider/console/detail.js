// The selected request: what was asked, the text as it arrives, the events, the bytes, and its timeline.

import { call, listen } from "./api.js";
import * as clips from "./clips.js";
import { byId, bytes, coalesced, copy, fill, h, say, seconds, tell } from "./dom.js";
import { stateOf } from "./list.js";
import { endingOf, Timeline } from "./timeline.js";
import { Reading, visible } from "./wire.js";

const TABS = ["text", "events", "raw", "request"];
const ROWS = 300;
const PASSING = 60;

/** The pane in the middle. `changed({tab})` is called when a person goes to another tab. */
export class Detail {
  constructor({ changed }) {
    this.changed = changed;
    this.id = null;
    this.summary = null;
    this.exchange = null;
    this.reading = new Reading();
    this.tab = "text";
    this.stop = null;
    this.limits = { events: ROWS, raw: ROWS };
    this.timeline = new Timeline(byId("timeline"), { chosen: (index) => this.showWrite(index) });
    this.render = coalesced(() => this.draw());
    this.tabs();
    this.steering();
    byId("copy-curl").onclick = () => this.exchange && copy(clips.curl(this.exchange, location.origin), "as curl");
    byId("copy-pytest").onclick = () => this.exchange && copy(clips.pytest(this.exchange, this.summary, this.reading), "as pytest");
    byId("copy-text").onclick = () => copy(this.reading.said.filter(({ kind }) => kind === "text").map(({ text }) => text).join(""), "the text");
    byId("save-form").onsubmit = (event) => this.save(event);
  }

  tabs() {
    for (const name of TABS) {
      const tab = byId(`tab-${name}`);
      tab.onclick = () => this.show(name);
      tab.onkeydown = (event) => {
        const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!by) return;
        event.preventDefault();
        const next = TABS[(TABS.indexOf(name) + by + TABS.length) % TABS.length];
        this.show(next);
        byId(`tab-${next}`).focus();
      };
    }
  }

  steering() {
    const verbs = {
      hold: () => ["pause", {}],
      step: () => ["step", { events: Number(byId("step-count").value) || 1 }],
      resume: () => ["resume", {}],
      flood: () => ["flood", { events: Number(byId("flood-count").value) || 100 }],
      "cut-reset": () => ["cut", { how: "reset" }],
      "cut-close": () => ["cut", { how: "close" }],
      "cut-end": () => ["cut", { how: "end" }],
    };
    this.verbs = Object.keys(verbs);
    for (const [name, made] of Object.entries(verbs)) {
      byId(name).onclick = async () => {
        const [verb, more] = made();
        try {
          await call("POST", `/streams/${verb}`, { exchange: this.id, ...more });
        } catch (error) {
          tell(error.message, true);
        }
      };
    }
  }

  /** Go to a tab. */
  show(tab) {
    if (!TABS.includes(tab)) return;
    this.tab = tab;
    for (const name of TABS) {
      const selected = name === tab;
      byId(`tab-${name}`).setAttribute("aria-selected", String(selected));
      byId(`tab-${name}`).tabIndex = selected ? 0 : -1;
      byId(`pane-${name}`).hidden = !selected;
    }
    this.fresh();
    this.changed({ tab });
  }

  /** Look at this request; null: at none. */
  select(id) {
    this.leave();
    this.id = id;
    this.summary = null;
    this.exchange = null;
    this.asked = false;
    this.started = false;
    clearTimeout(this.starting);
    this.reading = new Reading();
    this.limits = { events: ROWS, raw: ROWS };
    byId("detail").classList.toggle("empty", id === null);
    this.fresh();
    // Whoever runs through the list with a key held down asks for nothing on the way.
    if (id !== null) this.starting = setTimeout(() => this.start(), PASSING);
  }

  start() {
    this.started = true;
    this.watch(this.id);
    if (this.summary) this.fetch();
  }

  async watch(id) {
    const stop = new AbortController();
    this.stop = stop;
    const reading = this.reading;
    try {
      await listen(`/live?exchange=${id}`, {
        signal: stop.signal,
        wanted: (name) => name === "writes",
        told: (_, { writes, first }) => {
          if (stop.signal.aborted || first !== reading.writes.length) return;
          this.arrived = performance.now();
          for (const write of writes) reading.feed(write);
          this.over();
          this.render();
        },
      });
    } catch (error) {
      // The list's own connection says when the server is gone.
      if (!stop.signal.aborted && error.status) tell(error.message, true);
    }
  }

  /** What the list knows of the selected request. */
  update(summary) {
    this.summary = summary;
    if (this.started && !this.asked) this.fetch();
    else if (this.asked && summary.dialect !== null && this.exchange?.dialect === null) this.fetch();
    this.over();
    this.render();
  }

  async fetch() {
    this.asked = true;
    const { id, summary } = this;
    try {
      const found = await call("GET", `/exchanges?writes=false&path=${encodeURIComponent(summary.path)}`);
      if (id !== this.id) return;
      this.exchange = found.exchanges.find((exchange) => exchange.id === id) ?? null;
      this.request();
      this.render();
    } catch (error) {
      tell(error.message, true);
    }
  }

  /** Everything has come: nothing more to listen for. */
  over() {
    if (!this.summary || this.summary.outcome === null) return;
    if (!this.stop) return;
    clearTimeout(this.ending);
    // The journal does not keep every write of an endless answer: once nothing comes any more, that is all there is.
    if (this.reading.writes.length < this.summary.writes) this.ending = setTimeout(() => this.conclude(), 2000);
    else this.conclude();
  }

  conclude() {
    this.leave();
    this.reading.finish();
    this.render();
  }

  /** Listen no more. */
  leave() {
    clearTimeout(this.ending);
    this.stop?.abort();
    this.stop = null;
  }

  // ------------------------------------------------------------------------------------------ drawing

  /** Draw the panes anew. */
  fresh() {
    this.drawn = { text: 0, events: 0, raw: 0 };
    for (const name of ["text", "events", "raw"]) byId(`list-${name}`).replaceChildren();
    this.request();
    this.draw();
  }

  draw() {
    const { summary, reading } = this;
    this.facts();
    const open = summary !== null && summary.outcome === null;
    for (const name of this.verbs) byId(name).disabled = !open;
    byId("resume").disabled = !open || !summary.held;
    for (const name of ["copy-curl", "copy-pytest"]) byId(name).disabled = this.exchange === null;
    byId("save").disabled = summary === null || open;
    const pane = byId(`pane-${this.tab}`);
    const following = pane.scrollHeight - pane.scrollTop - pane.clientHeight < 40;
    const before = this.drawn[this.tab];
    this[`${this.tab}Pane`]?.();
    if (open && following && this.drawn[this.tab] !== before) pane.scrollTop = pane.scrollHeight;
    const ending = summary && summary.outcome !== null ? endingOf(summary.outcome) : null;
    const until = summary?.seconds ?? 0;
    this.timeline.show(this.id === null ? null : { reading, now: open ? this.now() : 0, until, ending, held: open && summary.held });
    clearTimeout(this.next);
    if (open) this.next = setTimeout(this.render, 250);
  }

  /** Seconds since the request came, by the last write and the time since then. */
  now() {
    const last = this.reading.writes.at(-1);
    return last ? last.time + (performance.now() - this.arrived) / 1000 : 0;
  }

  facts() {
    const { summary, reading } = this;
    if (summary === null) {
      say(byId("detail-title"), this.id === null ? "No request selected" : `Request ${this.id}`);
      fill(byId("facts"));
      return;
    }
    const [tone, words] = stateOf(summary);
    say(byId("detail-title"), `#${summary.id} ${summary.model ?? summary.path}`);
    const rate = reading.rate;
    const facts = [
      ["Status", `${summary.status ?? "–"} ${words || (summary.outcome ?? "")}`.trim(), tone],
      ["TTFT", seconds(reading.firstSaid)],
      ["Tokens/s", rate === null ? "–" : rate.toFixed(rate < 10 ? 1 : 0)],
      ["Time", seconds(summary.seconds ?? this.now())],
      ["Writes", `${summary.writes}`],
      ["Bytes", bytes(summary.bytes)],
      ["Dialect", summary.dialect ?? "–"],
      summary.rule && ["Rule", summary.rule],
      summary.faults && ["Faults", summary.faults],
      summary.recording && ["Recording", summary.recording],
      summary.late && ["Latest write", `+${seconds(summary.worst_lateness)}`, "fair"],
      summary.blocked > 0.05 && ["Client did not read", seconds(summary.blocked), "fair"],
      summary.error && ["Error", summary.error, "bad"],
    ].filter(Boolean);
    const list = byId("facts");
    if (list.children.length !== facts.length) fill(list, facts.map(() => h("div", {}, h("dt"), h("dd"))));
    facts.forEach(([name, value, kind], index) => {
      const [term, text] = list.children[index].children;
      say(term, name);
      say(text, value);
      text.className = kind ?? "";
    });
  }

  textPane() {
    const { reading } = this;
    const list = byId("list-text");
    for (; this.drawn.text < reading.events.length; this.drawn.text++) {
      for (const { kind, choice, text } of reading.events[this.drawn.text].said) {
        const last = list.lastElementChild;
        if (last && last.dataset.kind === kind && last.dataset.choice === String(choice)) last.lastChild.appendData(text);
        else list.append(spoken(kind, choice, text));
      }
    }
    let empty = "";
    if (this.id === null) empty = "Select a request in the list, or send one: the base URLs are at the top.";
    else if (!list.children.length) empty = this.summary?.outcome === null ? "Nothing has been said yet." : "This answer says nothing.";
    say(byId("no-text"), empty);
  }

  eventsPane() {
    const { events } = this.reading;
    const list = byId("list-events");
    const last = Math.min(events.length, this.limits.events);
    for (; this.drawn.events < last; this.drawn.events++) list.append(eventRow(events[this.drawn.events]));
    this.more("events", events.length);
  }

  rawPane() {
    const { writes, head } = this.reading;
    const list = byId("list-raw");
    const last = Math.min(writes.length, this.limits.raw);
    for (; this.drawn.raw < last; this.drawn.raw++) {
      const write = writes[this.drawn.raw];
      list.append(writeRow(write, writes[this.drawn.raw - 1]));
    }
    this.more("raw", writes.length);
    say(byId("raw-note"), this.reading.message.broken ? `As HTTP it is broken: ${this.reading.message.broken}.` : (head?.line ?? ""));
  }

  more(name, count) {
    const button = byId(`more-${name}`);
    button.hidden = count <= this.limits[name];
    say(button, `Show more (${count - Math.min(count, this.limits[name])} left)`);
    button.onclick = () => {
      this.limits[name] += 10 * ROWS;
      this.draw();
    };
  }

  request() {
    const { exchange } = this;
    if (exchange === null) return fill(byId("list-request"));
    let body = exchange.body;
    try {
      body = JSON.stringify(JSON.parse(exchange.body), null, 2);
    } catch {
      // Not JSON: shown as it came.
    }
    fill(
      byId("list-request"),
      h("p.request-line", {}, `${exchange.method} ${exchange.path}${exchange.query ? `?${exchange.query}` : ""}`),
      h("dl.headers", {}, exchange.headers.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
      body ? h("pre", {}, body) : null,
    );
  }

  /** Show one write's bytes. */
  showWrite(index) {
    this.limits.raw = Math.max(this.limits.raw, index + ROWS);
    this.show("raw");
    const row = byId("list-raw").children[index];
    if (!row) return;
    for (const other of byId("list-raw").querySelectorAll(".picked")) other.classList.remove("picked");
    row.classList.add("picked");
    row.scrollIntoView({ block: "nearest" });
  }

  async save(event) {
    event.preventDefault();
    const field = byId("save-name");
    try {
      const { file } = await call("POST", "/recordings", { exchange: this.id, name: field.value.trim() });
      byId("save-dialog").close();
      tell(`Saved as ${file}.`);
      field.value = "";
      document.dispatchEvent(new CustomEvent("recordings"));
    } catch (error) {
      say(byId("save-error"), error.message);
    }
  }
}

const KINDS = { reasoning: "Reasoning", refusal: "Refusal", tool: "Tool call", error: "Error" };

function spoken(kind, choice, text) {
  const name = [KINDS[kind], choice ? `choice ${choice}` : ""].filter(Boolean).join(", ");
  const element = h(`div.spoken.${kind}`, { "data-kind": kind, "data-choice": choice }, name ? h("span.kind", {}, name) : null);
  element.append(document.createTextNode(kind === "tool" ? text.replace(/^\n/, "") : text));
  return element;
}

function eventRow(event) {
  const text = event.said.map((piece) => piece.text).join("");
  const raw = h("pre");
  const row = h(
    "details",
    { ontoggle: () => say(raw, pretty(event.raw)) },
    h(
      "summary",
      {},
      h("span.time", {}, `+${event.time.toFixed(3)}`),
      h("span.name", {}, event.name || (event.said[0]?.kind ?? "event")),
      event.note ? h("span.note", {}, event.note) : null,
      h("span.value", {}, text ? JSON.stringify(text) : event.raw.trim().replace(/^data: ?/, "").slice(0, 160)),
    ),
    raw,
  );
  return h("li", {}, row);
}

function pretty(raw) {
  const [, lead, data] = /^([\s\S]*?data: ?)?([\s\S]*)$/.exec(raw);
  try {
    return `${lead ?? ""}${JSON.stringify(JSON.parse(data), null, 2)}`;
  } catch {
    return raw;
  }
}

function writeRow(write, before) {
  const gap = write.time - (before?.time ?? 0);
  const cut = { event: "ends within an event", character: "ends within a character" }[write.cut];
  return h(
    `li${cut ? `.cut` : ""}`,
    {},
    h("div.gutter", {}, h("span.number", {}, `${write.index + 1}`), h("span", {}, `+${seconds(gap)}`), h("span", {}, bytes(write.size))),
    write.data === null ? h("p.quiet", {}, "The journal keeps the beginning of a long answer only.") : h("pre", {}, visible(write.data).map(({ text, control }) => (control ? h("span.control", {}, text) : text))),
    cut ? h("span.cut-note", {}, cut) : null,
  );
}
