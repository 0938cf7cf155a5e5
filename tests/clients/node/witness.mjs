// Clients that say what they made of a stream, one after the other: node witness.mjs
// Each line of the input is JSON: {client, baseURL, timeoutMs}. Each line of the output is the answer: the text that the
// client handed out, the finish reasons that it told, and the error that it threw ("Class: message") or null.
import process from "node:process";
import { createInterface } from "node:readline";

const messages = [{ role: "user", content: "Say what you were told to say." }];
const request = {
  method: "POST",
  headers: { authorization: "Bearer sk-any", "content-type": "application/json" },
  body: JSON.stringify({ model: "any-model", messages, stream: true }),
};

function hear(chunk, heard) {
  for (const choice of chunk.choices) {
    heard.text += choice.delta.content ?? "";
    if (choice.finish_reason) heard.finishes.push(choice.finish_reason);
  }
}

const clients = {
  // The openai package as its documentation has it, but without retries.
  async openai({ baseURL, timeoutMs }, heard) {
    const { default: OpenAI } = await import("openai");
    const client = new OpenAI({ baseURL, apiKey: "sk-any", maxRetries: 0, timeout: timeoutMs });
    for await (const chunk of await client.chat.completions.create({ model: "any-model", messages, stream: true })) {
      hear(chunk, heard);
    }
  },

  // The AI SDK's text stream with its provider for OpenAI-compatible servers.
  async ai({ baseURL }, heard) {
    const { streamText } = await import("ai");
    const { createOpenAICompatible } = await import("@ai-sdk/openai-compatible");
    const model = createOpenAICompatible({ name: "mock", baseURL, apiKey: "sk-any" })("any-model");
    const result = streamText({ model, messages, maxRetries: 0, onError: () => {} });
    for await (const text of result.textStream) heard.text += text;
  },

  // The tutorials' loop: only lines that begin with "data: ", until [DONE] or the end, the status unread.
  async fetch({ url }, heard) {
    const decoder = new TextDecoder();
    let carry = "";
    for await (const read of (await fetch(url, request)).body) {
      const lines = (carry + decoder.decode(read, { stream: true })).split("\n");
      carry = lines.pop();
      for (const line of lines) {
        if (!line.startsWith("data: ")) continue;
        if (line === "data: [DONE]") return;
        hear(JSON.parse(line.slice("data: ".length)), heard);
      }
    }
  },

  async "eventsource-parser"({ url }, heard) {
    const { EventSourceParserStream } = await import("eventsource-parser/stream");
    const text = (await fetch(url, request)).body.pipeThrough(new TextDecoderStream());
    for await (const event of text.pipeThrough(new EventSourceParserStream())) {
      if (event.data === "[DONE]") return;
      hear(JSON.parse(event.data), heard);
    }
  },

  // Made for browsers: it asks for `window`, and for `document` too unless openWhenHidden is set.
  async "fetch-event-source"({ url }, heard) {
    const { default: library } = await import("@microsoft/fetch-event-source");
    globalThis.window = globalThis;
    globalThis.document = { removeEventListener() {} };
    try {
      await library.fetchEventSource(url, {
        ...request,
        openWhenHidden: true,
        onmessage(event) {
          if (event.data !== "[DONE]") hear(JSON.parse(event.data), heard);
        },
      });
    } finally {
      delete globalThis.window; // the openai package would take this for a browser
      delete globalThis.document;
    }
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  const heard = { text: "", finishes: [], error: null };
  try {
    await clients[asked.client]({ ...asked, url: `${asked.baseURL}/chat/completions` }, heard);
  } catch (error) {
    heard.error = `${error.constructor.name}: ${error.message}`;
  }
  process.stdout.write(`${JSON.stringify(heard)}\n`);
}
