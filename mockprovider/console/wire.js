// What was written, read again as a client would: the head, the transfer coding, the events, and what they say.

const utf8 = new TextDecoder();

/** The bytes of a write as the control API has it; null where the journal did not keep them. */
export function bytesOf(write) {
  if (write.text !== undefined) return new TextEncoder().encode(write.text);
  if (write.base64 === undefined) return null;
  return Uint8Array.from(atob(write.base64), (character) => character.charCodeAt(0));
}

function joined(left, right) {
  if (!left.length) return right;
  const both = new Uint8Array(left.length + right.length);
  both.set(left);
  both.set(right, left.length);
  return both;
}

function indexOf(data, sought, from = 0) {
  outer: for (let at = data.indexOf(sought[0], from); at >= 0; at = data.indexOf(sought[0], at + 1)) {
    for (let index = 1; index < sought.length; index++) if (data[at + index] !== sought[index]) continue outer;
    return at;
  }
  return -1;
}

const CRLF = [13, 10];
const BLANK = [13, 10, 13, 10];

/** The content of one HTTP/1 response, from its bytes as they come. Lenient: after an error, what comes is content. */
class Message {
  constructor() {
    this.rest = new Uint8Array();
    this.head = null;
    this.broken = null;
    this.ended = false;
    this.left = 0;
    this.state = "heading";
  }

  /** The pieces of content in these bytes. */
  feed(data) {
    const content = [];
    this.rest = joined(this.rest, data);
    while (this.rest.length && this[this.state](content));
    return content;
  }

  take(count) {
    const taken = this.rest.subarray(0, count);
    this.rest = this.rest.subarray(count);
    return taken;
  }

  lost(why, content) {
    this.broken = why;
    this.state = "content";
    return this.content(content);
  }

  heading(content) {
    const end = indexOf(this.rest, BLANK);
    if (end < 0) return this.rest.length > 65_536 ? this.lost("the head does not end", content) : false;
    const lines = utf8.decode(this.take(end + 4)).split("\r\n");
    const match = /^HTTP\/1\.[01] (\d{3})/.exec(lines[0]);
    if (!match) return this.lost("this is no status line", content);
    if (match[1][0] === "1") return true;
    const headers = lines.slice(1, -2).map((line) => {
      const at = line.indexOf(":");
      return [line.slice(0, at).trim().toLowerCase(), line.slice(at + 1).trim()];
    });
    this.head = { status: Number(match[1]), line: lines[0], headers };
    const value = (name) => headers.find(([key]) => key === name)?.[1];
    if (/chunked/i.test(value("transfer-encoding") ?? "")) this.state = "size";
    else this.state = "content";
    return true;
  }

  size(content) {
    const end = indexOf(this.rest, CRLF);
    if (end < 0) return this.rest.length > 1000 ? this.lost("a chunk has no size", content) : false;
    const line = utf8.decode(this.rest.subarray(0, end));
    if (!/^[0-9a-f]{1,8}\s*(;.*)?$/i.test(line)) return this.lost("a chunk's size is no number", content);
    this.take(end + 2);
    this.left = parseInt(line, 16);
    if (this.left === 0) this.ended = true;
    this.state = this.left ? "chunk" : "trailer";
    return true;
  }

  chunk(content) {
    const taken = this.take(Math.min(this.left, this.rest.length));
    this.left -= taken.length;
    content.push(taken);
    if (this.left === 0) this.state = "after";
    return true;
  }

  after(content) {
    if (this.rest.length < 2) return false;
    if (this.rest[0] !== 13 || this.rest[1] !== 10) return this.lost("a chunk is longer than its size", content);
    this.take(2);
    this.state = "size";
    return true;
  }

  trailer() {
    this.rest = new Uint8Array();
    return false;
  }

  content(content) {
    content.push(this.take(this.rest.length));
    return false;
  }
}

// The end of a line and at least one empty line; the two halves of "\r\n" are never taken for two ends.
const BLANK_LINE = /(?:\r\n|\r(?!\n)|\n)(?:\r\n|\r(?!\n)|\n)+/;

/** What a document of any dialect says: pieces `{kind, text, choice}`; kind: text, reasoning, refusal, tool or error. */
export function saidBy(document) {
  const said = [];
  const add = (kind, text, choice = 0) => {
    if (typeof text === "string" && text) said.push({ kind, text, choice: Number(choice) || 0 });
  };
  if (document === null || typeof document !== "object") return said;
  if (Array.isArray(document)) return document.flatMap(saidBy);
  for (const choice of list(document.choices)) byOpenAI(choice, add);
  for (const candidate of list(document.candidates)) byGemini(candidate, add);
  if (typeof document.type === "string") byType(document, add);
  if (document.message && typeof document.message === "object" && document.type === undefined)
    byOpenAI({ message: document.message }, add);
  add("reasoning", document.thinking);
  add("text", typeof document.response === "string" ? document.response : "");
  if (list(document.output).length && document.type === undefined) byOutput(document.output, add);
  if (document.error) add("error", typeof document.error === "string" ? document.error : JSON.stringify(document.error));
  return said;
}

const list = (value) => (Array.isArray(value) ? value.filter((item) => item && typeof item === "object") : []);

function byOpenAI(choice, add) {
  const delta = choice.delta ?? choice.message ?? {};
  const index = choice.index;
  add("reasoning", delta.reasoning_content ?? delta.reasoning ?? delta.thinking, index);
  if (Array.isArray(delta.content)) for (const part of list(delta.content)) add("text", part.text, index);
  else add("text", delta.content, index);
  add("text", choice.text, index);
  add("refusal", delta.refusal, index);
  for (const tool of list(delta.tool_calls)) {
    const { name, arguments: given } = tool.function ?? {};
    if (name) add("tool", `\n${name} `, index);
    add("tool", typeof given === "object" ? JSON.stringify(given) : given, index);
  }
}

function byGemini(candidate, add) {
  for (const part of list(candidate.content?.parts)) {
    add(part.thought === true ? "reasoning" : "text", part.text, candidate.index);
    if (part.functionCall)
      add("tool", `\n${part.functionCall.name} ${JSON.stringify(part.functionCall.args ?? {})}`, candidate.index);
  }
}

function byType(document, add) {
  const { type, delta } = document;
  if (type === "content_block_start") byBlock(document.content_block, add);
  else if (type === "content_block_delta") {
    add("text", delta?.text);
    add("reasoning", delta?.thinking);
    add("tool", delta?.partial_json);
  } else if (type === "message") for (const block of list(document.content)) byBlock(block, add);
  else if (type === "response.output_text.delta") add("text", delta);
  else if (type === "response.refusal.delta") add("refusal", delta);
  else if (/^response\.reasoning\w*\.delta$/.test(type)) add("reasoning", delta);
  else if (type === "response.function_call_arguments.delta") add("tool", delta);
  else if (type === "response.output_item.added" && document.item?.type === "function_call")
    add("tool", `\n${document.item.name} `);
  else if (type === "response.failed") add("error", JSON.stringify(document.response?.error ?? null));
}

function byBlock(block, add) {
  if (!block) return;
  add("text", block.text);
  add("reasoning", block.thinking);
  if (block.type === "tool_use") {
    const given = block.input && Object.keys(block.input).length ? JSON.stringify(block.input) : "";
    add("tool", `\n${block.name} ${given}`);
  }
}

function byOutput(output, add) {
  for (const item of list(output)) {
    for (const part of list(item.content)) add(part.type === "refusal" ? "refusal" : "text", part.text ?? part.refusal);
    for (const part of list(item.summary)) add("reasoning", part.text);
    if (item.type === "function_call") add("tool", `\n${item.name} ${item.arguments ?? ""}`);
  }
}

function tokensOf(document) {
  const usage = document?.usage ?? document?.response?.usage ?? document?.message?.usage ?? document?.x_groq?.usage;
  const count =
    usage?.completion_tokens ?? usage?.output_tokens ?? document?.usageMetadata?.candidatesTokenCount ?? document?.eval_count;
  return Number.isFinite(count) ? count : null;
}

/**
 * One exchange's writes, read. `writes`: each with its bytes (`data`, or null), `cut` (whether it ends within an event,
 * or within a character) and the time; `events`: what came, each `{time, write, raw, name, said, note}`; `head`;
 * `firstSaid` and `lastSaid`: seconds until a delta that says something; `deltas`: how many of those; `tokens`: what
 * the reply itself counts.
 */
export class Reading {
  constructor() {
    this.writes = [];
    this.events = [];
    this.message = new Message();
    this.decoder = new TextDecoder();
    this.rest = "";
    this.kind = null;
    this.deltas = 0;
    this.tokens = null;
    this.firstSaid = null;
    this.lastSaid = null;
    this.unkept = 0;
  }

  get head() {
    return this.message.head;
  }

  /** Take in the next write; returns the events that it completes. */
  feed(write) {
    const data = bytesOf(write);
    const before = this.events.length;
    const kept = { ...write, data, cut: null, index: this.writes.length };
    this.writes.push(kept);
    if (data === null) {
      this.unkept += 1;
      return [];
    }
    const pieces = this.message.feed(data);
    for (const piece of pieces) this.content(piece, kept);
    if (pieces.length && endsInCharacter(pieces.at(-1))) kept.cut = "character";
    else if (this.rest.trim() && this.kind !== "whole") kept.cut = "event";
    return this.events.slice(before);
  }

  /** The answer is over: what is left over is an event, too. Returns it, if it is one. */
  finish() {
    const left = this.rest;
    this.rest = "";
    if (!left.trim() || !this.writes.length) return [];
    const note = this.kind === "whole" ? "" : "the stream ends within it";
    return [this.event(left, this.writes.at(-1), note)];
  }

  content(piece, write) {
    this.rest += this.decoder.decode(piece, { stream: true });
    if (this.kind === null) {
      const type = this.head?.headers.find(([name]) => name === "content-type")?.[1] ?? "";
      if (/event-stream/.test(type) || /^\s*(data|event|id|retry)?:/.test(this.rest)) this.kind = "sse";
      else if (/ndjson|jsonl/.test(type)) this.kind = "lines";
      else this.kind = "whole";
    }
    const boundary = this.kind === "sse" ? BLANK_LINE : this.kind === "lines" ? /\n/ : null;
    if (boundary === null) return;
    for (let match = boundary.exec(this.rest); match; match = boundary.exec(this.rest)) {
      const raw = this.rest.slice(0, match.index + match[0].length);
      this.rest = this.rest.slice(raw.length);
      if (raw.trim()) this.event(raw, write, "");
    }
  }

  event(raw, write, note) {
    const event = { time: write.time, write: write.index, raw, name: "", said: [], note, index: this.events.length };
    let data = raw;
    if (this.kind === "sse") {
      const fields = raw.split(/\r\n|\r|\n/);
      const values = fields.filter((line) => /^data:/.test(line)).map((line) => line.slice(5).replace(/^ /, ""));
      event.name = fields.find((line) => line.startsWith("event:"))?.slice(6).trim() ?? "";
      data = values.join("\n");
      if (!values.length) event.note ||= fields.every((line) => !line || line.startsWith(":")) ? "comment" : "";
    }
    if (data.trim() && data.trim() !== "[DONE]") {
      try {
        const document = JSON.parse(data);
        event.said = saidBy(document);
        event.name ||= typeof document?.type === "string" ? document.type : "";
        this.tokens = tokensOf(document) ?? this.tokens;
      } catch {
        event.note ||= "no JSON";
      }
    }
    if (event.said.some((piece) => piece.kind !== "error")) {
      this.deltas += 1;
      this.firstSaid ??= event.time;
      this.lastSaid = event.time;
    }
    this.events.push(event);
    return event;
  }

  /** Tokens a second between the first and the last delta; null before there are two. */
  get rate() {
    const span = this.lastSaid - this.firstSaid;
    if (this.deltas < 2 || span <= 0) return null;
    return ((this.tokens ?? this.deltas) * (1 - 1 / this.deltas)) / span;
  }

  /** What was said, put together: `[{kind, choice, text}]`, neighbours of one kind joined. */
  get said() {
    return merged(this.events.flatMap((event) => event.said));
  }
}

/** Neighbouring pieces of one kind and choice as one. */
export function merged(pieces) {
  const found = [];
  for (const piece of pieces) {
    const last = found.at(-1);
    if (last && last.kind === piece.kind && last.choice === piece.choice) last.text += piece.text;
    else found.push({ ...piece });
  }
  return found;
}

function endsInCharacter(data) {
  // RFC 3629: a lead byte tells how many bytes follow it.
  for (let back = 1; back <= Math.min(3, data.length); back++) {
    const byte = data[data.length - back];
    if (byte >= 0xf0) return back < 4;
    if (byte >= 0xe0) return back < 3;
    if (byte >= 0xc0) return back < 2;
    if (byte < 0x80) return false;
  }
  return false;
}

const ESCAPES = { 9: "\\t", 10: "\\n", 13: "\\r" };

/**
 * Bytes to be read: `[{text, control}]`, a new line after each line's end. control: whether the text stands for what
 * does not print, such as `\r\n`, `\xE2` for a byte that is no UTF-8, and `\u{FEFF}` for a character without a shape.
 */
export function visible(data) {
  const pieces = [];
  const add = (text, control) => {
    const last = pieces.at(-1);
    if (last && last.control === control) last.text += text;
    else pieces.push({ text, control });
  };
  let at = 0;
  while (at < data.length) {
    const length = characterAt(data, at);
    if (!length) add(`\\x${hex(data[at], 2)}`, true);
    else {
      const character = utf8.decode(data.subarray(at, at + length));
      const code = data[at] === 0xef && length === 3 && !character ? 0xfeff : character.codePointAt(0);
      if (code < 0x20 || code === 0x7f) add(ESCAPES[code] ?? `\\x${hex(code, 2)}`, true);
      else if (character && (character === " " || !/[\p{C}\p{Z}]/u.test(character))) add(character, false);
      else add(`\\u{${hex(code, 4)}}`, true);
    }
    at += length || 1;
    // Empty lines stay with the line before them.
    const ended = length === 1 && data[at - 1] === 10;
    if (ended && at < data.length && data[at] !== 10 && !(data[at] === 13 && data[at + 1] === 10)) add("\n", false);
  }
  return pieces;
}

const hex = (value, digits) => value.toString(16).toUpperCase().padStart(digits, "0");

function characterAt(data, at) {
  const byte = data[at];
  const length = byte < 0x80 ? 1 : byte >= 0xf0 && byte < 0xf5 ? 4 : byte >= 0xe0 && byte < 0xf0 ? 3 : byte >= 0xc2 && byte < 0xe0 ? 2 : 0;
  if (!length || at + length > data.length) return 0;
  for (let index = 1; index < length; index++) if ((data[at + index] & 0xc0) !== 0x80) return 0;
  return length;
}
