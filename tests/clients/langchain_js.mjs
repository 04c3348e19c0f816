// LangChain's chat model and embeddings for JavaScript.
import { HumanMessage, ToolMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import { ChatOpenAI, OpenAIEmbeddings } from "@langchain/openai";
import { z } from "zod";
import { all, apiKey, baseURL, failure, run } from "./session.mjs";

const City = z.object({ city: z.string(), population: z.number() });
const configuration = { baseURL };
const chat = (model, fields = {}) => new ChatOpenAI({ model, apiKey, configuration, maxRetries: 0, ...fields });
const weather = tool(async () => "22 degrees", {
  name: "get_weather",
  description: "Get the current weather",
  schema: z.object({ location: z.string() }),
});

await run({
  async invoke({ model, prompt }) {
    const answer = await chat(model).invoke(prompt);
    const { content, tool_calls, usage_metadata, response_metadata } = answer;
    const { input_tokens, output_tokens, total_tokens } = usage_metadata;
    const usage = { input_tokens, output_tokens, total_tokens };
    return { content, tool_calls, usage, finish_reason: response_metadata.finish_reason };
  },

  async stream({ model, prompt }) {
    const [first, ...rest] = await all(await chat(model).stream(prompt));
    const answer = rest.reduce((sum, chunk) => sum.concat(chunk), first);
    return {
      content: answer.content,
      pieces: rest.length > 2,
      total_tokens: answer.usage_metadata.total_tokens,
      finish_reason: answer.response_metadata.finish_reason,
      tool_call_chunks: answer.tool_call_chunks,
    };
  },

  async tools({ model, prompt }) {
    const bound = chat(model).bindTools([weather]);
    const messages = [new HumanMessage(prompt)];
    const answer = await bound.invoke(messages);
    const [call] = answer.tool_calls;
    const result = await weather.invoke(call);
    const final = await bound.invoke([...messages, answer, result]);
    const [first, ...rest] = await all(await bound.stream(prompt));
    const streamed = rest.reduce((sum, chunk) => sum.concat(chunk), first);
    const told = (one) => ({ name: one.name, args: one.args });
    return {
      call: told(call),
      isResult: result instanceof ToolMessage,
      final: final.content,
      streamed: streamed.tool_calls.map(told),
    };
  },

  async structured({ model, prompt }) {
    return chat(model).withStructuredOutput(City, { method: "jsonSchema" }).invoke(prompt);
  },

  async functionCalling({ model, prompt }) {
    return chat(model).withStructuredOutput(City, { method: "functionCalling", name: "city" }).invoke(prompt);
  },

  async embeddings({ model }) {
    const embeddings = new OpenAIEmbeddings({ model, apiKey, configuration, maxRetries: 0 });
    const vectors = await embeddings.embedDocuments(["a cat", "a dog"]);
    return { lengths: vectors.map((vector) => vector.length), query: (await embeddings.embedQuery("a cat")).length };
  },

  async responses({ model, prompt }) {
    const answer = await chat(model, { useResponsesApi: true }).invoke(prompt);
    const [first, ...rest] = await all(await chat(model, { useResponsesApi: true }).stream(prompt));
    return { text: answer.text, streamed: rest.reduce((sum, chunk) => sum.concat(chunk), first).text };
  },

  async fails({ model, ...rest }) {
    return failure(() => chat(model, rest).invoke("hello"));
  },
});
