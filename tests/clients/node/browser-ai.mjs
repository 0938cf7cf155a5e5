// The ai package in a page: the text that it streams goes to the page's own server.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { streamText } from "ai";
import { report, settings } from "./browser-report.mjs";

report(async () => {
  const provider = createOpenAICompatible({ name: "mock", baseURL: settings.get("api"), apiKey: "any" });
  const failures = [];
  const { textStream } = streamText({
    model: provider("any-model"),
    prompt: "Say what you were told to say.",
    maxRetries: 0,
    onError: ({ error }) => failures.push(error),
  });
  const pieces = [];
  for await (const piece of textStream) pieces.push(piece);
  if (failures.length) throw failures[0];
  return pieces;
});
