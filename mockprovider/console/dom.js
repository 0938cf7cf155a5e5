// Small helpers for the document. Text goes in as text nodes only: nothing here, or anywhere in the console, parses HTML.

const SVG = "http://www.w3.org/2000/svg";

/** The element of the page with this id. */
export const byId = (id) => document.getElementById(id);

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** An element: `h("button.quiet", { onclick }, "Text")`. Children are nodes or texts. */
export function h(kind, attributes = {}, ...children) {
  const [name, ...classes] = kind.split(".");
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(" ");
  return filled(element, attributes, children);
}

/** An SVG element. */
export function svg(kind, attributes = {}, ...children) {
  const [name, ...classes] = kind.split(".");
  const element = document.createElementNS(SVG, name);
  if (classes.length) element.setAttribute("class", classes.join(" "));
  return filled(element, attributes, children);
}

/** Put `children` in the place of what an element has. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
}

/** Set an element's text, without touching the document where it is the same. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

let toast = 0;

/** Tell the person something: shown for a while, and read out by screen readers. */
export function tell(text, bad = false) {
  const status = byId("status");
  status.classList.toggle("bad", bad);
  status.classList.add("shown");
  status.textContent = text;
  clearTimeout(toast);
  toast = setTimeout(() => status.classList.remove("shown"), bad ? 8000 : 3000);
}

/** Put a text on the clipboard, and say so. */
export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Pages that are not served from this machine or over TLS have no clipboard: the old way, by a selection.
    const area = h("textarea", { readonly: true, "aria-hidden": "true" });
    area.value = text;
    (document.querySelector("dialog[open]") ?? document.body).append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) return tell(`The browser does not allow copying ${what}.`, true);
  }
  tell(`Copied ${what}.`);
}

/** A button that copies what `text()` returns. */
export function copyButton(text, what, label = "Copy") {
  return h("button.small", { type: "button", "aria-label": `${label} ${what}`, onclick: () => copy(text(), what) }, label);
}

/** Let a person download a text as a file. */
export function download(name, text, type) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = h("a", { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** Seconds for people: `12 ms`, `1.25 s`, `2 min`. */
export function seconds(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value < 0.0995) return `${(value * 1000).toFixed(value < 0.00995 ? 1 : 0)} ms`;
  if (value < 9.995) return `${value.toFixed(2)} s`;
  if (value < 120) return `${value.toFixed(1)} s`;
  return `${(value / 60).toFixed(1)} min`;
}

/** Bytes for people. */
export function bytes(value) {
  if (value < 10_000) return `${value} B`;
  return value < 1_000_000 ? `${(value / 1000).toFixed(1)} kB` : `${(value / 1e6).toFixed(1)} MB`;
}

/** Call `work` soon, once, however often it is asked for: with the next frame. */
export function coalesced(work) {
  let due = false;
  return () => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => {
      due = false;
      work();
    });
  };
}

/** Call `work` with the last arguments once nothing has come for `delay` milliseconds. */
export function debounced(work, delay) {
  let timer = 0;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...args), delay);
  };
}
