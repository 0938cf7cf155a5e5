// A request as something to paste: a curl command, or a test for pytest.

// What the transport or the browser adds by itself, and what says nothing about the request.
const DULL = /^(host|content-length|connection|accept-encoding|accept-language|user-agent|origin|referer|cookie|cache-control|pragma|dnt|priority|te|sec-.*|x-stainless-.*)$/i;
const SECRET = /^(authorization|api-key|x-api-key|x-goog-api-key)$/i;

const shell = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

/** Headers worth repeating; a key is not known here, and any will do. */
function telling(exchange) {
  return exchange.headers
    .filter(([name]) => !DULL.test(name))
    .map(([name, value]) => [name.toLowerCase(), SECRET.test(name) ? (/^authorization$/i.test(name) ? "Bearer any" : "any") : value]);
}

const target = (exchange) => exchange.path + (exchange.query ? `?${exchange.query}` : "");

/** The request as a curl command. */
export function curl(exchange, origin) {
  const parts = [`curl -N ${shell(origin + target(exchange))}`];
  if (exchange.method !== (exchange.body ? "POST" : "GET")) parts.push(`-X ${exchange.method}`);
  for (const [name, value] of telling(exchange)) parts.push(`-H ${shell(`${name}: ${value}`)}`);
  if (exchange.body) parts.push(`--data-raw ${shell(exchange.body)}`);
  return parts.join(" \\\n  ");
}

/** A JSON value as Python writes it. */
function python(value, indent = "") {
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (typeof value === "string") return quoted(value);
  if (typeof value === "number") return String(value);
  const inner = `${indent}    `;
  const items = Array.isArray(value)
    ? value.map((item) => python(item, inner))
    : Object.entries(value).map(([key, item]) => `${quoted(key)}: ${python(item, inner)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const line = `${open}${items.join(", ")}${close}`;
  return line.length < 80 && !line.includes("\n") ? line : `${open}\n${items.map((item) => `${inner}${item},\n`).join("")}${indent}${close}`;
}

// JSON's escapes are Python's, but for the halves of characters beyond the first 65,536, which are written as they are.
const quoted = (text) => JSON.stringify(text).replace(/\u2028|\u2029|\u007f/g, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** What was said as the arguments of `reply`. */
function parts(said) {
  return said.flatMap(({ kind, text }) => {
    if (kind === "text") return [quoted(text)];
    if (kind === "reasoning") return [`Reasoning(${quoted(text)})`];
    if (kind !== "tool") return [];
    return text
      .split(/\n(?=\S+ )/)
      .filter((one) => one.trim())
      .flatMap((one) => {
        const match = /^\s*(\S+) ([\s\S]*)$/.exec(one);
        try {
          return match ? [`tool_call(${quoted(match[1])}, **${python(JSON.parse(match[2] || "{}"), "    ")})`] : [];
        } catch {
          return []; // cut short: its arguments are no JSON
        }
      });
  });
}

/** The request and its answer as a test. summary: of the live list; reading: what was sent. */
export function pytest(exchange, summary, reading) {
  const plain = target(exchange).replace(/^\/~[^/]+/, "");
  const answer = [];
  const used = new Set();
  const failed = summary.status >= 400;
  if (failed) answer.push(`mock_provider.on().error(${summary.status})`);
  else {
    const args = parts(reading.said);
    if (args.some((one) => one.startsWith("Reasoning("))) used.add("Reasoning");
    if (args.some((one) => one.startsWith("tool_call("))) used.add("tool_call");
    if (!args.length) args.push('""');
    if (summary.faults && !plain.includes("/with/")) args.push(`faults=${quoted(summary.faults)}`);
    answer.push(`mock_provider.on().reply(${args.join(", ")})`);
  }
  const broken = summary.outcome === "reset" || summary.outcome === "closed";
  let body = "";
  if (exchange.body) {
    try {
      body = `, json=${python(JSON.parse(exchange.body), "    ")}`;
    } catch {
      body = `, content=${quoted(exchange.body)}`;
    }
  }
  const headers = telling(exchange).filter(([name]) => name !== "content-type" && name !== "accept");
  const sent = headers.length ? `, headers=${python(Object.fromEntries(headers), "    ")}` : "";
  const request = `httpx.request(${quoted(exchange.method)}, mock_provider.url + ${quoted(plain)}${sent}${body})`;
  const lines = broken
    ? ["with pytest.raises(httpx.HTTPError):", ...request.split("\n").map((line) => `    ${line}`)]
    : [`answer = ${request}`];
  if (!broken) lines.push(`assert answer.status_code == ${summary.status ?? 200}`);
  const outcome = broken ? summary.outcome : "complete";
  return [
    "import httpx",
    broken ? "import pytest" : null,
    used.size ? `\nfrom mockprovider import ${[...used].sort().join(", ")}` : null,
    "",
    "",
    "def test_the_stream(mock_provider):",
    ...answer.map((line) => `    ${line}`),
    "    # In the place of this request, let your own client ask.",
    ...lines.join("\n").split("\n").map((line) => `    ${line}`),
    "    (exchange,) = mock_provider.wait_for(1)",
    `    assert exchange.outcome == ${quoted(outcome)}`,
    "",
  ]
    .filter((line) => line !== null)
    .join("\n");
}

/** A chain of faults as a part of a base URL, its values percent-encoded. */
export function chained(origin, chain) {
  const segment = chain.replace(/"(?:[^"\\]|\\.)*"|[^"]+/g, (part) =>
    part.startsWith('"') ? encodeURIComponent(part) : part.replace(/\s+/g, "").replace(/[^A-Za-z0-9=(),.+_~:*!@-]/g, encodeURIComponent),
  );
  return `${origin}/with/${segment}/v1`;
}
