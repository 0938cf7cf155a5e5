// The openai package for Node: node openai-sdk.mjs BASE_URL stream|whole
import process from "node:process";
import OpenAI from "openai";

const [baseURL, mode] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "sk-any", maxRetries: 0, timeout: 30_000 });
const request = {
  model: "any-model",
  messages: [{ role: "user", content: "Say what you were told to say." }],
};

let text = "";
if (mode === "stream") {
  for await (const chunk of await client.chat.completions.create({ ...request, stream: true })) {
    for (const choice of chunk.choices) text += choice.delta.content ?? "";
  }
} else {
  text = (await client.chat.completions.create(request)).choices[0].message.content;
}
process.stdout.write(text);
