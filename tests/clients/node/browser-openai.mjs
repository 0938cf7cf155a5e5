// The openai package in a page: the text that it streams goes to the page's own server.
import OpenAI from "openai";
import { report, settings } from "./browser-report.mjs";

report(async () => {
  const client = new OpenAI({ baseURL: settings.get("api"), apiKey: "any", dangerouslyAllowBrowser: true, maxRetries: 0 });
  const stream = await client.chat.completions.create({
    model: "any-model",
    messages: [{ role: "user", content: "Say what you were told to say." }],
    stream: true,
  });
  const pieces = [];
  for await (const chunk of stream) pieces.push(chunk.choices[0]?.delta.content ?? "");
  return pieces;
});
