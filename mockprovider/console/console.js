// The console's page: what happens on the server, and the levers. It asks this server alone, and builds the page from
// text nodes: nothing that a model says is ever parsed as HTML or run.

import { listen, onToken } from "./api.js";
import { byId, copyButton, fill, h, say } from "./dom.js";
import { Detail } from "./detail.js";
import { Levers } from "./levers.js";
import { RequestList } from "./list.js";

const VIEWS = ["requests", "stream", "levers"];
const SECTIONS = ["pace", "faults", "failures", "reply", "gates", "packing", "recordings", "scenario"];

// ------------------------------------------------------------------------------------------ the state in the URL

const state = { request: null, tab: "text", view: "requests", open: ["pace", "faults"] };

function readState() {
  const said = new URLSearchParams(location.hash.slice(1));
  const request = Number(said.get("request"));
  state.request = said.has("request") && Number.isInteger(request) && request > 0 ? request : null;
  state.tab = ["text", "events", "raw", "request"].includes(said.get("tab")) ? said.get("tab") : "text";
  state.view = VIEWS.includes(said.get("view")) ? said.get("view") : "requests";
  if (said.has("open")) state.open = said.get("open").split(",").filter((name) => SECTIONS.includes(name));
}

function writeState() {
  const said = new URLSearchParams();
  if (state.request !== null) said.set("request", String(state.request));
  if (state.tab !== "text") said.set("tab", state.tab);
  if (state.view !== "requests") said.set("view", state.view);
  said.set("open", state.open.join(","));
  const hash = `#${said.toString().replaceAll("%2C", ",")}`;
  if (hash !== location.hash) history.replaceState(null, "", hash);
}

// ------------------------------------------------------------------------------------------ the parts

readState();
onToken(askToken);
const list = new RequestList(byId("list"), (id) => select(id, true));
const detail = new Detail({
  changed: ({ tab }) => {
    state.tab = tab;
    writeState();
  },
});
const levers = new Levers();

function select(id, byHand = false) {
  if (state.request !== id || detail.id !== id) {
    state.request = id;
    detail.select(id);
    const summary = list.all.get(id);
    if (summary) detail.update(summary);
  }
  list.select(id);
  if (byHand && matchMedia("(max-width: 760px)").matches && document.activeElement !== byId("list")) view("stream");
  writeState();
}

function view(name) {
  state.view = name;
  byId("main").dataset.view = name;
  for (const each of VIEWS) byId(`view-${each}`).setAttribute("aria-pressed", String(each === name));
  writeState();
}

function counted(dropped) {
  let open = 0;
  for (const summary of list.all.values()) if (summary.outcome === null) open += 1;
  const found = list.filter ? `${list.shown.length} of ` : "";
  say(byId("count"), `${found}${list.all.size} requests, ${open} open${dropped ? `, ${dropped} older ones forgotten` : ""}`);
  byId("list-empty").hidden = list.shown.length > 0;
}

// ------------------------------------------------------------------------------------------ what happens

let dropped = 0;
const told = {
  levers: (data) => levers.told(data),
  gates: (data) => levers.gates(data),
  scenario: (data) => levers.scenario(data),
  exchanges: (data) => {
    dropped = data.dropped;
    list.change(data.changed, data.gone);
    const mine = data.changed.find((summary) => summary.id === state.request);
    if (mine) detail.update(mine);
    counted(dropped);
  },
};

let connection = null;

/** Follow what happens for as long as the page is looked at; a hidden page leaves its connection to others. */
async function follow() {
  for (let wait = 500; !document.hidden; wait = Math.min(5000, wait * 2)) {
    connection = new AbortController();
    try {
      await listen("/live", {
        signal: connection.signal,
        opened: () => {
          wait = 500;
          connected(true);
          list.clear();
          list.selected = state.request;
          counted(0);
          detail.select(state.request);
          levers.load().catch(() => connected(false));
        },
        told: (name, data) => told[name]?.(data),
      });
    } catch {
      // Gone, or hidden: tried again below.
    }
    connected(false);
    if (!document.hidden) await new Promise((resume) => setTimeout(resume, wait));
  }
  connection = null;
}

function connected(yes) {
  byId("connection").classList.toggle("lost", !yes);
  say(byId("connection"), yes ? "live" : document.hidden ? "paused" : "no connection");
}

let hiding = 0;
document.addEventListener("visibilitychange", () => {
  clearTimeout(hiding);
  if (document.hidden)
    hiding = setTimeout(() => {
      connection?.abort();
      detail.leave();
    }, 5000);
  else if (connection === null) follow();
});

// ------------------------------------------------------------------------------------------ the head of the page

const origin = location.origin;
const BASES = [
  ["OpenAI", `${origin}/v1`, "chat completions, responses, completions, embeddings"],
  ["Anthropic, Gemini, Ollama", origin, "messages; generateContent; chat and generate"],
];
const CLIENTS = [
  ["Environment: OpenAI", `OPENAI_BASE_URL=${origin}/v1 OPENAI_API_KEY=any`],
  ["Environment: Anthropic", `ANTHROPIC_BASE_URL=${origin} ANTHROPIC_API_KEY=any`],
  ["Environment: Gemini", `GOOGLE_GEMINI_BASE_URL=${origin} GEMINI_API_KEY=any`],
  ["Environment: Ollama", `OLLAMA_HOST=${origin}`],
  ["openai, Python", `openai.OpenAI(base_url="${origin}/v1", api_key="any")`],
  ["openai, browser", `new OpenAI({ baseURL: "${origin}/v1", apiKey: "any", dangerouslyAllowBrowser: true })`],
  ["anthropic, Python", `anthropic.Anthropic(base_url="${origin}", api_key="any")`],
  ["google-genai, Python", `genai.Client(api_key="any", http_options={"base_url": "${origin}"})`],
  ["ai (Vercel)", `createOpenAICompatible({ name: "mock", baseURL: "${origin}/v1" })`],
  ["LangChain, Python", `ChatOpenAI(base_url="${origin}/v1", api_key="any", model="any")`],
  ["Groq, Python", `groq.Groq(base_url="${origin}", api_key="any")`],
  ["OpenRouter", `${origin}/api/v1`],
  ["Any flavour", `${origin}/as/openrouter/v1`],
];
fill(
  byId("bases"),
  BASES.map(([name, url, what]) => h("li", { title: what }, h("span.base-name", {}, name), h("code", {}, url), copyButton(() => url, `the base URL for ${name}`))),
);
fill(
  byId("clients"),
  CLIENTS.map(([name, line]) => h("div", {}, h("dt", {}, name), h("dd", {}, h("code", {}, line), copyButton(() => line, `the line for ${name}`)))),
);

const clients = document.querySelector(".clients");
document.addEventListener("click", (event) => clients.contains(event.target) || (clients.open = false));
clients.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  clients.open = false;
  clients.querySelector("summary").focus();
});

function askToken() {
  const dialog = byId("token-dialog");
  if (!dialog.open) dialog.showModal();
  return new Promise((resume) => {
    byId("token-form").onsubmit = (event) => {
      event.preventDefault();
      dialog.close();
      const given = byId("token").value.trim();
      byId("token").value = "";
      say(byId("token-error"), "The server did not accept that token.");
      resume(given);
    };
  });
}

// ------------------------------------------------------------------------------------------ by hand

for (const name of VIEWS) byId(`view-${name}`).onclick = () => view(name);
byId("filter").oninput = (event) => {
  list.search(event.target.value);
  counted(dropped);
};
for (const name of SECTIONS) {
  const section = byId(`section-${name}`);
  section.addEventListener("toggle", () => {
    state.open = SECTIONS.filter((each) => byId(`section-${each}`).open);
    writeState();
  });
}
for (const dialog of document.querySelectorAll("dialog")) {
  for (const button of dialog.querySelectorAll("[data-close]")) button.onclick = () => dialog.close();
}
byId("help").onclick = () => byId("help-dialog").showModal();
byId("save").onclick = () => {
  say(byId("save-error"), "");
  byId("save-dialog").showModal();
};

const QUIET = "mockprovider-no-shortcuts";
byId("shortcuts").checked = localStorage.getItem(QUIET) === null;
byId("shortcuts").onchange = (event) => (event.target.checked ? localStorage.removeItem(QUIET) : localStorage.setItem(QUIET, "1"));

function focusOn(id, name) {
  if (name) view(name);
  const field = byId(id);
  const section = field.closest("details");
  if (section) section.open = true;
  field.focus();
}

const KEYS = {
  "?": () => byId("help-dialog").showModal(),
  "/": () => focusOn("filter", "requests"),
  f: () => focusOn("fault-search", "levers"),
  l: () => focusOn("list", "requests"),
  j: () => list.move(1),
  k: () => list.move(-1),
  h: () => byId("hold").click(),
  s: () => byId("step").click(),
  r: () => byId("resume").click(),
  x: () => byId("cut-reset").click(),
  1: () => detail.show("text"),
  2: () => detail.show("events"),
  3: () => detail.show("raw"),
  4: () => detail.show("request"),
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !byId("shortcuts").checked) return;
  if (event.target.closest("input, textarea, select, dialog")) return;
  const work = KEYS[event.key];
  if (!work) return;
  event.preventDefault();
  work();
});

function applyState() {
  for (const name of SECTIONS) byId(`section-${name}`).open = state.open.includes(name);
  view(state.view);
  detail.show(state.tab);
}
window.addEventListener("hashchange", () => {
  readState();
  applyState();
  select(state.request);
});

applyState();
follow();
