// OpenAI's own client for Node.
import OpenAI, { toFile } from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import { all, apiKey, baseURL, failure, run } from "./session.mjs";

const options = { baseURL, apiKey, maxRetries: 0 };
const client = new OpenAI(options);
const City = z.object({ city: z.string(), population: z.number() });
const weather = {
  name: "get_weather",
  description: "Get the current weather",
  parameters: { type: "object", properties: { location: { type: "string" } }, required: ["location"] },
};
const user = (content) => [{ role: "user", content }];

async function heard(stream) {
  const chunks = await all(stream);
  const deltas = chunks.flatMap((chunk) => chunk.choices.map((choice) => choice.delta));
  const joined = (field) => deltas.map((delta) => delta[field] ?? "").join("");
  return {
    first: deltas[0],
    content: joined("content"),
    reasoning: joined("reasoning_content"),
    toolCalls: deltas.some((delta) => delta.tool_calls),
    finishes: chunks.flatMap((chunk) => chunk.choices.map((choice) => choice.finish_reason)).filter(Boolean),
    ids: new Set(chunks.map((chunk) => chunk.id)).size,
    last: chunks.at(-1).choices,
    usage: chunks.at(-1).usage,
    counted: chunks.filter((chunk) => chunk.usage).length,
  };
}

await run({
  async models() {
    const listed = await all(client.models.list());
    return listed.map(({ id, name, description }) => ({ id, name, description }));
  },

  async model({ model }) {
    return client.models.retrieve(model);
  },

  async create({ model, prompt, ...rest }) {
    const { data, response } = await client.chat.completions
      .create({ model, messages: user(prompt), ...rest })
      .withResponse();
    const names = ["x-request-id", "openai-processing-ms", "x-las-model", "x-las-cost", "x-las-thread"];
    const headers = Object.fromEntries(names.map((name) => [name, response.headers.get(name)]));
    const { finish_reason, message } = data.choices[0];
    return { message, finish_reason, usage: data.usage, object: data.object, model: data.model, headers };
  },

  async chunks({ model, prompt, usage = true, ...rest }) {
    const stream_options = usage ? { include_usage: true } : undefined;
    return heard(
      await client.chat.completions.create({ model, messages: user(prompt), stream: true, stream_options, ...rest }),
    );
  },

  async helper({ model, prompt }) {
    const stream = client.chat.completions.stream({ model, messages: user(prompt) });
    const events = [];
    stream.on("content", (delta) => events.push(delta));
    const content = await stream.finalContent();
    return { content, events, finish: (await stream.finalChatCompletion()).choices[0].finish_reason };
  },

  async parse({ model, prompt }) {
    const answer = await client.chat.completions.parse({
      model,
      messages: user(prompt),
      response_format: zodResponseFormat(City, "city"),
    });
    return answer.choices[0].message.parsed;
  },

  async tools({ model, prompt }) {
    const called = [];
    const run = ({ location }) => {
      called.push(location);
      return "22 degrees";
    };
    const tools = [{ type: "function", function: { ...weather, parse: JSON.parse, function: run } }];
    const contents = [];
    for (const stream of [false, true]) {
      const runner = client.chat.completions.runTools({ model, stream, messages: user(prompt), tools });
      contents.push(await runner.finalContent());
    }
    return { contents, called };
  },

  async handed({ model, prompt }) {
    // What a client does by hand: the call is answered, and the tool's result sent back.
    const tools = [{ type: "function", function: weather }];
    const messages = user(prompt);
    const first = (await client.chat.completions.create({ model, messages, tools })).choices[0];
    const [call] = first.message.tool_calls;
    messages.push(first.message, { role: "tool", tool_call_id: call.id, content: "22 degrees" });
    const second = (await client.chat.completions.create({ model, messages, tools })).choices[0];
    return {
      finish: first.finish_reason,
      call: call.function,
      content: second.message.content,
      second: second.finish_reason,
    };
  },

  async embeddings({ model }) {
    const input = ["a cat", "a dog"];
    const coded = await client.embeddings.create({ model, input });
    const floats = await client.embeddings.create({ model, input, encoding_format: "float" });
    const far = Math.max(
      ...coded.data.flatMap((item, at) => item.embedding.map((x, i) => Math.abs(x - floats.data[at].embedding[i]))),
    );
    return { lengths: coded.data.map((item) => item.embedding.length), same: far < 1e-6, usage: floats.usage };
  },

  async response({ model, input }) {
    const first = await client.responses.create({ model, input, store: true });
    const second = await client.responses.create({ model, input: "And again?", previous_response_id: first.id });
    return {
      status: first.status,
      object: first.object,
      text: first.output_text,
      usage: first.usage.total_tokens > 0,
      follows: second.previous_response_id === first.id,
      again: second.output_text,
    };
  },

  async responseStream({ model, input }) {
    const events = await all(await client.responses.create({ model, input, stream: true }));
    const deltas = events.filter((event) => event.type === "response.output_text.delta");
    return {
      begins: events.slice(0, 2).map((event) => event.type),
      ends: events.at(-1).type,
      text: deltas.map((event) => event.delta).join(""),
      numbered: events.every((event, index) => event.sequence_number === index),
    };
  },

  async responseParse({ model, input }) {
    const answer = await client.responses.parse({ model, input, text: { format: zodTextFormat(City, "city") } });
    return answer.output_parsed;
  },

  async responseTools({ model, input }) {
    const tools = [{ type: "function", strict: false, ...weather }];
    const first = await client.responses.create({ model, input, tools });
    const call = first.output.find((item) => item.type === "function_call");
    const output = { type: "function_call_output", call_id: call.call_id, output: "22 degrees" };
    const second = await client.responses.create({ model, tools, input: [output], previous_response_id: first.id });
    return { call: { name: call.name, arguments: call.arguments }, text: second.output_text };
  },

  async completions({ model, prompt }) {
    const whole = await client.completions.create({ model, prompt });
    const chunks = await all(await client.completions.create({ model, prompt, stream: true }));
    const { text, finish_reason } = whole.choices[0];
    const streamed = chunks.map((chunk) => chunk.choices[0]?.text ?? "").join("");
    return { object: whole.object, text, finish_reason, streamed };
  },

  async audio({ speech, transcription, input }) {
    const spoken = await client.audio.speech.create({ model: speech, voice: "alloy", input });
    const sound = Buffer.from(await spoken.arrayBuffer());
    const file = await toFile(sound, "said.mp3");
    const written = await client.audio.transcriptions.create({ model: transcription, file });
    return { type: spoken.headers.get("content-type"), bytes: sound.length, text: written.text };
  },

  async fails({ model, stream = false, ...rest }) {
    return failure(() => client.chat.completions.create({ model, messages: user("hello"), stream, ...rest }));
  },

  async breaks({ model }) {
    const said = [];
    const error = await failure(async () => {
      const stream = await client.chat.completions.create({ model, messages: user("hello"), stream: true });
      for await (const chunk of stream) said.push(chunk.choices[0]?.delta.content ?? "");
    });
    return { said: said.join(""), error };
  },

  async late({ model }) {
    const impatient = new OpenAI({ ...options, timeout: 200 });
    return failure(() => impatient.chat.completions.create({ model, messages: user("hello") }));
  },

  async nobody({ model }) {
    const lost = new OpenAI({ ...options, baseURL: "http://127.0.0.1:9/v1" });
    return failure(() => lost.chat.completions.create({ model, messages: user("hello") }));
  },
});
