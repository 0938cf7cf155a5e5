// Node's own fetch with eventsource-parser: node fetch-eventsource-parser.mjs BASE_URL stream
import process from "node:process";
import { EventSourceParserStream } from "eventsource-parser/stream";

const [baseUrl] = process.argv.slice(2);
const response = await fetch(`${baseUrl}/chat/completions`, {
  method: "POST",
  headers: { authorization: "Bearer sk-any", "content-type": "application/json" },
  body: JSON.stringify({
    model: "any-model",
    messages: [{ role: "user", content: "Say what you were told to say." }],
    stream: true,
  }),
});
if (!response.ok) throw new Error(`status ${response.status}`);

const events = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
let text = "";
let finished = false;
for await (const event of events) {
  if (event.data === "[DONE]") {
    finished = true;
    break;
  }
  for (const choice of JSON.parse(event.data).choices) text += choice.delta.content ?? "";
}
if (!finished) throw new Error("the stream ended without [DONE]");
process.stdout.write(text);
