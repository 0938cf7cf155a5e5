// The calls of the control API, with the token where the server wants one.

const KEY = "mockprovider-token";
const HEADER = "x-mockprovider-token";

/** A call that the server refused: `status`, and its reason as the message. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

let token = sessionStorage.getItem(KEY) ?? "";
let asked = null;
let ask = async () => "";

/** Tell how a person is asked for the token: an async function that returns it. */
export function onToken(how) {
  ask = how;
}

async function renewed(tried) {
  if (tried !== token) return;
  // Several calls may be refused at once; the person is asked once.
  asked ??= ask().finally(() => (asked = null));
  token = await asked;
  sessionStorage.setItem(KEY, token);
}

async function fetched(method, path, body, signal) {
  for (;;) {
    const tried = token;
    const headers = { accept: "*/*" };
    if (tried) headers[HEADER] = tried;
    if (body !== undefined) headers["content-type"] = "application/json";
    const response = await fetch(`/_mock${path}`, {
      method,
      headers,
      signal,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
    });
    if (response.status !== 401) return response;
    await renewed(tried);
  }
}

async function checked(response) {
  if (response.ok) return response;
  let message = `the server answered ${response.status}`;
  try {
    message = (await response.json()).error.message;
  } catch {
    // Not JSON: the status is all there is to say.
  }
  throw new Refused(response.status, message);
}

/** The JSON that a call answers with. */
export async function call(method, path, body) {
  return (await checked(await fetched(method, path, body))).json();
}

/** The text that a call answers with. */
export async function text(path) {
  return (await checked(await fetched("GET", path))).text();
}

/**
 * Read a stream of server-sent events until it ends or `signal` says so. `wanted(name)` tells whether an event is worth
 * parsing; `opened()` is called once the server has answered, `told(name, data)` for each event.
 */
export async function listen(path, { signal, opened, told, wanted = () => true }) {
  const response = await checked(await fetched("GET", path, undefined, signal));
  opened?.();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    rest += value;
    const blocks = rest.split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      let name = "message";
      const data = [];
      for (const line of block.split("\n")) {
        if (line.startsWith("event:")) name = line.slice(6).trim();
        else if (line.startsWith("data:")) data.push(line.slice(5));
      }
      if (data.length && wanted(name)) told(name, JSON.parse(data.join("\n")));
    }
  }
}
