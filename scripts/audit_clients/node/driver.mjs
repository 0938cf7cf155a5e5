// Clients for Node in one process, each as its documentation or the usual tutorial has it: node driver.mjs
// A line of the input is JSON: {id, client, task}. A line of the output is JSON, too: {id, text: "…"} for each piece, then
// {id, done: {error: null or {name, message, own}, report}}. Tasks run side by side.
import process from "node:process";
import { createInterface } from "node:readline";

// The output belongs to the answers.
console.log = console.info = console.warn = console.debug = console.error;
globalThis.AI_SDK_LOG_WARNINGS = false;

const messages = (task) => [{ role: "user", content: task.prompt }];
const url = (task) => `${task.base_url}/chat/completions`;
const request = (task) => ({
  method: "POST",
  headers: { authorization: `Bearer ${task.api_key}`, "content-type": "application/json" },
  body: JSON.stringify({ model: task.model, messages: messages(task), stream: true }),
});

function hear(chunk, told) {
  for (const choice of chunk.choices) {
    told.text(choice.delta.content ?? "");
    if (choice.finish_reason) told.report.finish = choice.finish_reason;
  }
}

// Fetch throws a TypeError for what goes wrong on the network; that is its own error.
const ofFetch = (error) =>
  (error instanceof TypeError && /fetch failed|terminated/.test(error.message)) || error.name === "StatusError";

class StatusError extends Error {
  name = "StatusError";
}

async function anthropicClient(task) {
  const { default: Anthropic } = await import("@anthropic-ai/sdk");
  const client = new Anthropic({ baseURL: task.base_url, apiKey: task.api_key, timeout: task.timeout * 1000 });
  return [client, (error) => error instanceof Anthropic.AnthropicError];
}

async function openaiClient(task) {
  const { default: OpenAI } = await import("openai");
  const client = new OpenAI({ baseURL: task.base_url, apiKey: task.api_key, timeout: task.timeout * 1000 });
  return [client, (error) => error instanceof OpenAI.OpenAIError];
}

async function compatible(task) {
  const { createOpenAICompatible } = await import("@ai-sdk/openai-compatible");
  return createOpenAICompatible({ name: "mock", baseURL: task.base_url, apiKey: task.api_key })(task.model);
}

async function aiText(model, task, told) {
  const { streamText, AISDKError } = await import("ai");
  told.own = (error) => AISDKError.isInstance(error);
  const result = streamText({ model, messages: messages(task), onError: () => {} });
  for await (const text of result.textStream) told.text(text);
}

async function aiFull(model, task, told) {
  const { streamText, AISDKError } = await import("ai");
  told.own = (error) => AISDKError.isInstance(error);
  const result = streamText({ model, messages: messages(task), onError: () => {} });
  for await (const part of result.fullStream) {
    if (part.type === "text-delta") told.text(part.text);
    else if (part.type === "error") throw part.error;
    else if (part.type === "finish") told.report.finish = part.finishReason;
  }
}

const clients = {
  async openai(task, told) {
    const [client, own] = await openaiClient(task);
    told.own = own;
    const chunks = await client.chat.completions.create({ model: task.model, messages: messages(task), stream: true });
    for await (const chunk of chunks) hear(chunk, told);
  },

  async "openai-helper"(task, told) {
    const [client, own] = await openaiClient(task);
    told.own = own;
    const stream = client.chat.completions.stream({ model: task.model, messages: messages(task), stream: true });
    stream.on("content", (text) => told.text(text));
    const completion = await stream.finalChatCompletion();
    const [choice] = completion.choices;
    told.report = {
      finish: choice.finish_reason,
      refusal: choice.message.refusal,
      tool_calls: (choice.message.tool_calls ?? []).map((call) => call.function),
    };
  },

  async anthropic(task, told) {
    const [client, own] = await anthropicClient(task);
    told.own = own;
    const events = await client.messages.create({
      model: task.model, max_tokens: 1024, messages: messages(task), stream: true,
    });
    for await (const event of events) {
      if (event.type === "content_block_delta" && event.delta.type === "text_delta") told.text(event.delta.text);
      if (event.type === "message_delta") told.report.finish = event.delta.stop_reason;
    }
  },

  async "anthropic-helper"(task, told) {
    const [client, own] = await anthropicClient(task);
    told.own = own;
    const stream = client.messages.stream({ model: task.model, max_tokens: 1024, messages: messages(task) });
    stream.on("text", (text) => told.text(text));
    const message = await stream.finalMessage();
    told.report = {
      finish: message.stop_reason,
      tool_calls: message.content.filter((block) => block.type === "tool_use")
        .map((block) => ({ name: block.name, arguments: block.input })),
    };
  },

  // The AI SDK's text stream, which has no place for errors, and its full stream, which has.
  async ai(task, told) {
    await aiText(await compatible(task), task, told);
  },

  async "ai-full"(task, told) {
    await aiFull(await compatible(task), task, told);
  },

  async "ai-anthropic-full"(task, told) {
    const { createAnthropic } = await import("@ai-sdk/anthropic");
    await aiFull(createAnthropic({ baseURL: `${task.base_url}/v1`, apiKey: task.api_key })(task.model), task, told);
  },

  // The tutorials' loop: only lines that begin with "data: ", until [DONE] or the end.
  async fetch(task, told) {
    told.own = ofFetch;
    const response = await fetch(url(task), request(task));
    if (!response.ok) throw new StatusError(`status ${response.status}`);
    const decoder = new TextDecoder();
    let carry = "";
    for await (const read of response.body) {
      const lines = (carry + decoder.decode(read, { stream: true })).split("\n");
      carry = lines.pop();
      for (const line of lines) {
        if (!line.startsWith("data: ")) continue;
        if (line === "data: [DONE]") return;
        hear(JSON.parse(line.slice("data: ".length)), told);
      }
    }
  },

  // A tutorial that takes each read for whole events, and the status for granted.
  async "fetch-reads"(task, told) {
    told.own = ofFetch;
    const reader = (await fetch(url(task), request(task))).body.getReader();
    const decoder = new TextDecoder();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      for (const line of decoder.decode(value).split("\n").filter((text) => text.trim())) {
        const data = line.replace(/^data: /, "");
        if (data === "[DONE]") return;
        try {
          hear(JSON.parse(data), told);
        } catch {
          // what cannot be parsed is skipped
        }
      }
    }
  },

  async "eventsource-parser"(task, told) {
    told.own = (error) => ofFetch(error) || error.name === "ParseError";
    const { EventSourceParserStream } = await import("eventsource-parser/stream");
    const response = await fetch(url(task), request(task));
    if (!response.ok) throw new StatusError(`status ${response.status}`);
    const events = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
    for await (const event of events) {
      if (event.data === "[DONE]") return;
      hear(JSON.parse(event.data), told);
    }
  },

  // Made for browsers: it asks for `window`, and for `document` too unless openWhenHidden is set.
  async "fetch-event-source"(task, told) {
    told.own = ofFetch;
    globalThis.window ??= globalThis;
    globalThis.document ??= { removeEventListener() {} };
    const { default: library } = await import("@microsoft/fetch-event-source");
    await library.fetchEventSource(url(task), {
      ...request(task),
      openWhenHidden: true,
      onmessage(event) {
        if (event.data !== "[DONE]") hear(JSON.parse(event.data), told);
      },
    });
  },
};

function say(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

async function run({ id, client, task }) {
  const told = { report: {}, own: () => false, text: (text) => text && say({ id, text }) };
  let error = null;
  try {
    await clients[client](task, told);
  } catch (thrown) {
    error = {
      name: thrown?.constructor?.name ?? typeof thrown, message: String(thrown?.message ?? thrown), own: told.own(thrown),
    };
  }
  say({ id, done: { error, report: told.report } });
}

// What no client awaits must not end the others; it is none of what the caller is told.
process.on("unhandledRejection", () => {});
process.on("uncaughtException", () => {});
for await (const line of createInterface({ input: process.stdin })) void run(JSON.parse(line));
