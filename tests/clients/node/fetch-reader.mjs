// Node's own fetch with a reader loop and a parser made by hand: node fetch-reader.mjs BASE_URL stream|whole
import process from "node:process";

const [baseUrl, mode] = process.argv.slice(2);
const response = await fetch(`${baseUrl}/chat/completions`, {
  method: "POST",
  headers: { authorization: "Bearer sk-any", "content-type": "application/json" },
  body: JSON.stringify({
    model: "any-model",
    messages: [{ role: "user", content: "Say what you were told to say." }],
    stream: mode === "stream",
  }),
});
if (!response.ok) throw new Error(`status ${response.status}`);

async function streamed() {
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let carry = "";
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new Error("the stream ended without [DONE]");
    carry += decoder.decode(value, { stream: true });
    const events = carry.split("\n\n");
    carry = events.pop();
    for (const event of events) {
      for (const line of event.split("\n")) {
        if (!line.startsWith("data: ")) continue;
        const data = line.slice("data: ".length);
        if (data === "[DONE]") return text;
        for (const choice of JSON.parse(data).choices) text += choice.delta.content ?? "";
      }
    }
  }
}

const text = mode === "stream" ? await streamed() : (await response.json()).choices[0].message.content;
process.stdout.write(text);
