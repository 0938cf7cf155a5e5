// The levers: what a person sets by hand, from the next request on.

import { call, text } from "./api.js";
import { chained } from "./clips.js";
import { byId, copy, debounced, download, fill, h, say, seconds, tell } from "./dom.js";
import { Timeline } from "./timeline.js";
import { merged, Reading } from "./wire.js";

const SHOWN = 40;
const TURNED = { pace: "Pace", chunking: "Packing", faults: "Faults", flavour: "Flavour", reply: "Reply", fail_next: "Fails next", limited: "429", recording: "Recording" };

/** Where a slider of 0 to 100 stands for so many seconds, and back: fine at its beginning, coarse at its end. */
const toSeconds = (position, most) => Number((most * (position / 100) ** 3).toPrecision(2));
const toPosition = (value, most) => Math.round(100 * Math.min(1, value / most) ** (1 / 3));

/** The panel on the right. */
export class Levers {
  constructor() {
    this.now = {};
    this.offers = { faults: [], cases: [] };
    this.serverPace = "";
    this.preview = debounced(() => this.look(), 250);
    this.timeline = new Timeline(byId("preview-timeline"), { label: "Timeline of the preview" });
    this.wire();
  }

  /** Ask what there is to choose from. */
  async load() {
    const [choices, cases, health] = await Promise.all([call("GET", "/choices"), call("GET", "/cases"), call("GET", "/health")]);
    this.serverPace = health.pace;
    say(byId("version"), `v${health.version}`);
    say(byId("server-pace"), `Without a choice here: ${health.pace} (the server's own).`);
    options("pace-profile", ["", ...Object.keys(choices.paces)], (name) => (name ? `${name} (${choices.paces[name]})` : "the server's own"));
    options("flavour", ["", ...choices.flavours], (name) => name || "the server's own");
    options("preview-dialect", choices.dialects, (name) => name);
    this.offers = {
      faults: choices.faults.map((fault) => ({ ...fault, kind: "fault", words: words(fault.name, fault.summary, fault.level) })),
      cases: cases.map((one) => ({ ...one, kind: "case", words: words(one.name, one.wire, one.must, one.family, one.expect) })),
    };
    this.offer();
    this.sync();
    this.recordings();
  }

  // ------------------------------------------------------------------------------------------ setting

  /** Set some levers; what is wrong is shown at `place`. Returns whether they are set. */
  async set(table, place) {
    const error = place && byId(place);
    try {
      this.now = await call("PUT", "/levers", table);
      if (error) say(error, "");
      this.sync();
      return true;
    } catch (problem) {
      if (error) say(error, problem.message);
      else tell(problem.message, true);
      return false;
    }
  }

  wire() {
    byId("pace-profile").onchange = (event) => event.target.value !== "custom" && this.set({ pace: event.target.value || null }, "pace-error");
    byId("pace-form").onsubmit = (event) => {
      event.preventDefault();
      this.set({ pace: byId("pace-text").value.trim() || null }, "pace-error");
    };
    for (const name of ["ttft", "itl"]) {
      byId(name).oninput = () => this.slid();
      byId(name).onchange = () => this.set({ pace: this.slid() }, "pace-error");
    }
    byId("chunking-form").onsubmit = (event) => {
      event.preventDefault();
      this.set({ chunking: byId("chunking").value.trim() || null }, "chunking-error");
    };
    byId("flavour").onchange = (event) => this.set({ flavour: event.target.value || null }, "chunking-error");
    byId("faults-form").onsubmit = (event) => {
      event.preventDefault();
      this.set({ faults: byId("chain").value.trim() || null }, "faults-error");
    };
    byId("chain").oninput = () => this.preview();
    byId("faults-clear").onclick = () => {
      byId("chain").value = "";
      this.set({ faults: null }, "faults-error");
    };
    byId("faults-url").onclick = () => copy(byId("chain").value.trim() ? chained(location.origin, byId("chain").value.trim()) : `${location.origin}/v1`, "the base URL with these faults");
    byId("fault-search").oninput = debounced(() => this.offer(), 80);
    byId("fail-form").onsubmit = (event) => {
      event.preventDefault();
      this.set({ fail_next: { count: Number(byId("fail-count").value), status: Number(byId("fail-status").value) } }, "fail-error");
    };
    byId("limited").onchange = (event) => this.set({ limited: event.target.checked }, "fail-error");
    byId("reply-form").onsubmit = (event) => {
      event.preventDefault();
      const reply = this.reply("reply-error");
      if (reply !== undefined) this.set({ reply }, "reply-error");
    };
    byId("reply").oninput = () => this.preview();
    byId("reply-clear").onclick = () => {
      byId("reply").value = "";
      this.set({ reply: null }, "reply-error");
    };
    byId("preview-dialect").onchange = () => this.preview();
    byId("section-reply").addEventListener("toggle", () => this.preview());
    byId("gate-form").onsubmit = (event) => {
      event.preventDefault();
      const kind = byId("gate").value;
      this.gate("hold", kind === "after-token" ? `after-token-${byId("gate-token").value}` : kind);
    };
    byId("gate").onchange = (event) => (byId("gate-token-label").hidden = event.target.value !== "after-token");
    byId("export").onclick = async () => download("scenario.toml", await text("/scenario.toml"), "application/toml");
    byId("export-copy").onclick = async () => copy(await text("/scenario.toml"), "the scenario file");
    byId("let-go").onclick = () => this.set({ ...Object.fromEntries(Object.keys(TURNED).map((name) => [name, null])) });
    document.addEventListener("recordings", () => this.recordings());
  }

  slid() {
    const ttft = toSeconds(Number(byId("ttft").value), 10);
    const itl = toSeconds(Number(byId("itl").value), 2);
    for (const [name, value] of [["ttft", ttft], ["itl", itl]]) {
      say(byId(`${name}-value`), seconds(value));
      byId(name).setAttribute("aria-valuetext", seconds(value));
    }
    return `ttft=${ttft},itl=${itl}`;
  }

  async gate(verb, gate) {
    try {
      await call("POST", `/${verb}`, { gate });
      say(byId("gate-error"), "");
    } catch (error) {
      say(byId("gate-error"), error.message);
    }
  }

  // ------------------------------------------------------------------------------------------ showing

  /** What the server says of the levers. */
  told(levers) {
    this.now = levers;
    this.sync();
  }

  /** Bring the controls to what is set; one that a person is at is left alone. */
  sync() {
    const { now } = this;
    const set = (id, value) => {
      const field = byId(id);
      if (field !== document.activeElement) field.value = value;
    };
    const profiles = [...byId("pace-profile").options].map((option) => option.value);
    set("pace-profile", profiles.find((name) => name && name === now.pace) ?? (now.pace ? (this.profileOf(now.pace) ?? "custom") : ""));
    set("pace-text", now.pace ?? "");
    set("chunking", now.chunking ?? "");
    set("flavour", now.flavour ?? "");
    set("chain", now.faults ?? "");
    if (now.reply !== null && now.reply !== undefined) set("reply", typeof now.reply === "string" ? now.reply : JSON.stringify(now.reply, null, 2));
    byId("limited").checked = now.limited === true;
    const pace = Object.fromEntries((now.pace ?? this.serverPace ?? "").split(/,(?![^(]*\))/).map((part) => part.split("=", 2)));
    for (const [name, most] of [["ttft", 10], ["itl", 2]]) {
      if (byId(name) === document.activeElement) continue;
      const value = middle(pace[name]);
      byId(name).value = String(toPosition(value, most));
      say(byId(`${name}-value`), pace[name] ? seconds(value) : "–");
      byId(name).setAttribute("aria-valuetext", seconds(value));
    }
    this.chips();
    this.preview();
  }

  profileOf(pace) {
    return [...byId("pace-profile").options].find((option) => option.textContent.endsWith(`(${pace})`))?.value;
  }

  chips() {
    const set = Object.entries(this.now).filter(([name, value]) => name in TURNED && value !== null && value !== false);
    fill(
      byId("chips"),
      set.map(([name, value]) =>
        h(
          "li",
          {},
          h("span.chip-name", {}, TURNED[name]),
          h("span.chip-value", {}, chipText(name, value)),
          h("button.chip-off", { type: "button", "aria-label": `Let go: ${TURNED[name]}`, title: "Let go", onclick: () => this.set({ [name]: null }) }, "×"),
        ),
      ),
    );
    byId("nothing-set").hidden = set.length > 0;
    byId("let-go").hidden = set.length === 0;
    say(byId("levers-count"), set.length ? ` (${set.length})` : "");
  }

  /** The closed gates. */
  gates(waiting) {
    fill(
      byId("gates"),
      Object.entries(waiting).map(([gate, count]) =>
        h("li", {}, h("code", {}, gate), h("span", {}, `${count} waiting`), h("button.small", { type: "button", onclick: () => this.gate("release", gate) }, "Release")),
      ),
    );
  }

  /** The scenario file and the rules. */
  scenario({ file, loaded, problems, rules }) {
    const at = loaded === null ? "" : `, read at ${new Date(loaded * 1000).toLocaleTimeString()}`;
    say(byId("scenario-file"), file === null ? "No scenario file is followed (serve --scenario FILE)." : `${file}${at}`);
    fill(byId("problems"), problems.map((problem) => h("li", {}, problem)));
    byId("problems-box").hidden = problems.length === 0;
    byId("scenario-alert").hidden = problems.length === 0;
    fill(byId("rules"), rules.map((rule) => h("li", {}, h("code", {}, rule.when || rule.name), h("span.quiet", {}, ` ${rule.answers} ${rule.answers === 1 ? "answer" : "answers"}, used ${rule.used} ×`))));
    byId("no-rules").hidden = rules.length > 0;
  }

  /** Faults and cases that the search finds. */
  offer() {
    const sought = byId("fault-search").value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const all = [...this.offers.faults, ...this.offers.cases];
    const found = all.filter((one) => sought.every((word) => one.words.includes(word)));
    const first = found.filter((one) => sought.some((word) => one.name.includes(word)));
    const ordered = sought.length ? [...first, ...found.filter((one) => !first.includes(one))] : found;
    fill(byId("offers"), ordered.slice(0, SHOWN).map((one) => this.offered(one)));
    say(byId("offers-count"), `${found.length} of ${this.offers.faults.length} faults and ${this.offers.cases.length} cases${found.length > SHOWN ? `, the first ${SHOWN} shown` : ""}`);
  }

  offered(one) {
    const explanation = h("div.explanation");
    const open = h(
      "details",
      { ontoggle: () => explanation.children.length || explanation.append(...(one.kind === "fault" ? aboutFault(one) : aboutCase(one))) },
      h("summary", {}, h("span.offer-name", {}, one.name), h(`span.badge.${one.kind}`, {}, one.kind), h("span.offer-summary", {}, one.kind === "fault" ? one.summary : one.wire)),
      explanation,
    );
    const usable = one.kind === "fault" || (one.available && !one.listener);
    const add = h("button.small", { type: "button", "aria-label": `Add ${one.name}`, disabled: !usable, title: usable ? "Add to the chain" : (one.unavailable ?? "Has a port of its own: see docs/catalogue.md"), onclick: () => this.add(one.name) }, "Add");
    return h("li", {}, open, add);
  }

  add(name) {
    const chain = byId("chain").value.trim();
    byId("chain").value = chain ? `${chain}+${name}` : name;
    return this.set({ faults: byId("chain").value }, "faults-error");
  }

  async recordings() {
    try {
      const { folder, saves, recordings } = await call("GET", "/recordings");
      say(byId("recordings-folder"), folder === null ? "This server has no folder for recordings (serve --recordings DIR)." : folder);
      byId("save").title = saves ? "" : "Needs a folder: serve --recordings DIR";
      fill(
        byId("recordings"),
        recordings.map((one) =>
          h(
            "li",
            {},
            h("code", {}, one.name),
            h("span.quiet", {}, one.error ?? `${one.status ?? "no answer"}, ${one.reads} reads, ${seconds(one.seconds)}, ${one.ending ?? "no ending"}`),
            h("button.small", { type: "button", disabled: Boolean(one.error), "aria-label": `Play ${one.name}`, onclick: () => this.set({ recording: one.name }, "recording-error") }, "Play"),
          ),
        ),
      );
    } catch (error) {
      say(byId("recording-error"), error.message);
    }
  }

  // ------------------------------------------------------------------------------------------ the preview

  /** The reply as it is written: a text, or a table where it begins as one; undefined where that is no JSON. */
  reply(place) {
    const written = byId("reply").value;
    if (!written.trimStart().startsWith("{")) return written;
    try {
      return JSON.parse(written);
    } catch (error) {
      say(byId(place), `This begins as a table but is no JSON: ${error.message}`);
      return undefined;
    }
  }

  async look() {
    if (!byId("section-reply").open) return;
    const reply = this.reply("preview-error");
    if (reply === undefined) return;
    const asked = { faults: byId("chain").value.trim(), dialect: byId("preview-dialect").value || "openai-chat", pace: this.now.pace ?? this.serverPace };
    if (reply !== "") asked.reply = reply;
    const turn = (this.turn = (this.turn ?? 0) + 1);
    try {
      const { writes } = await call("POST", "/preview", asked);
      if (turn === this.turn) this.previewed(writes);
      say(byId("preview-error"), "");
    } catch (error) {
      say(byId("preview-error"), error.message);
    }
  }

  previewed(writes) {
    const reading = new Reading();
    const encoder = new TextEncoder();
    for (const { time, text: said, base64 } of writes) {
      if (said === undefined && base64 === undefined) continue;
      const size = said === undefined ? Math.floor((base64.length * 3) / 4) : encoder.encode(said).length;
      reading.feed({ time, size, text: said, base64 });
    }
    reading.finish();
    const last = writes.at(-1);
    const words = { RST: ["bad", "reset (RST)"], FIN: ["bad", "FIN"] }[last?.ending] ?? (/^the end/.test(last?.ending ?? "") ? ["good", "complete"] : ["fair", (last?.ending ?? "").split(",")[0]]);
    this.timeline.show({ reading, ending: words, until: last?.time ?? 0 });
    fill(byId("preview-text"), merged(reading.said).map(({ kind, text: said }) => h(`span.spoken.${kind}`, {}, said)));
    if (!reading.said.length) say(byId("preview-text"), reading.head ? reading.head.line : "nothing is said");
  }
}

const words = (...parts) => parts.filter(Boolean).join(" ").toLowerCase();

function options(id, values, label) {
  const field = byId(id);
  const more = id === "pace-profile" ? [h("option", { value: "custom" }, "as below")] : [];
  fill(field, values.map((value) => h("option", { value }, label(value))), more);
}

/** A duration's middle: of `0.03..0.08` and `0.02~gamma(cv=0.4)` too. */
function middle(said) {
  if (!said) return 0;
  const [low, high] = said.split("~")[0].split("..").map(Number);
  return Number.isFinite(high) ? (low + high) / 2 : low || 0;
}

function chipText(name, value) {
  if (name === "limited") return "until further notice";
  if (name === "fail_next") return `${value.count} with ${value.status}`;
  return typeof value === "string" ? value : JSON.stringify(value);
}

function aboutFault(fault) {
  return [
    h("p", {}, fault.summary),
    fault.details ? h("p", {}, fault.details) : null,
    h("p.quiet", {}, `Level: ${fault.level}. ${fault.legal ? "What it sends is legal." : "What it sends breaks the rules."}`),
    h("dl.settings", {}, fault.settings.map((one) => h("div", {}, h("dt", {}, h("code", {}, one.default === null ? one.name : `${one.name}=${one.default}`)), h("dd", {}, `${one.doc} (${one.allowed})`)))),
  ].filter(Boolean);
}

function aboutCase(one) {
  return [
    h("p", {}, one.wire),
    h("p", {}, h("strong", {}, `A correct client: ${one.expect}. `), one.must),
    one.notes ? h("p.quiet", {}, one.notes) : null,
    one.faults ? h("p", {}, h("code", {}, one.faults)) : null,
    one.citations?.length ? h("p.quiet", {}, `Seen in: ${one.citations.join(", ")}`) : null,
    one.unavailable ? h("p.quiet", {}, `Not available: ${one.unavailable}`) : null,
    one.base_url ? h("p.copied", {}, h("code", {}, one.base_url), h("button.small", { type: "button", "aria-label": `Copy the base URL of ${one.name}`, onclick: () => copy(one.base_url, "the base URL") }, "Copy")) : null,
  ].filter(Boolean);
}
