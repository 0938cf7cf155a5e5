// The openai package for Node on /v1/responses and /v1/embeddings: node openai-responses.mjs BASE_URL
import process from "node:process";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "sk-any", maxRetries: 0, timeout: 30_000 });
const request = { model: "gpt-5.5", input: "Say it." };
const told = {};

told.whole = (await client.responses.create(request)).output_text;
told.events = [];
for await (const event of await client.responses.create({ ...request, stream: true })) told.events.push(event.type);
const stream = client.responses.stream(request);
told.deltas = "";
stream.on("response.output_text.delta", (event) => (told.deltas += event.delta));
told.final = (await stream.finalResponse()).output.map((item) => item.type);
told.size = (await client.embeddings.create({ model: "text-embedding-3-small", input: "x" })).data[0].embedding.length;
process.stdout.write(JSON.stringify(told));
