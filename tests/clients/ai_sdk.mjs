// The Vercel AI SDK with its provider for OpenAI-compatible endpoints.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany, generateObject, generateText, isStepCount, Output, streamText, tool } from "ai";
import { z } from "zod";
import { all, apiKey, baseURL, failure, run } from "./session.mjs";

const settings = { includeUsage: true, supportsStructuredOutputs: true };
const las = createOpenAICompatible({ name: "las", baseURL, apiKey, ...settings });
const maxRetries = 0;
const City = z.object({ city: z.string(), population: z.number() });
const spent = ({ inputTokens, outputTokens, totalTokens }) => ({ inputTokens, outputTokens, totalTokens });

function tools(called) {
  return {
    get_weather: tool({
      description: "Get the current weather",
      inputSchema: z.object({ location: z.string() }),
      execute: async ({ location }) => {
        called.push(location);
        return "22 degrees";
      },
    }),
  };
}

await run({
  async generate({ model, prompt }) {
    const answer = await generateText({ model: las(model), prompt, maxRetries });
    const { text, reasoningText, finishReason } = answer;
    const toolCalls = answer.toolCalls.length;
    return { text, reasoning: reasoningText, finishReason, usage: spent(answer.usage), toolCalls };
  },

  async stream({ model, prompt }) {
    const answer = streamText({ model: las(model), prompt, maxRetries });
    const parts = await all(answer.fullStream);
    return {
      kinds: [...new Set(parts.map((part) => part.type))],
      text: await answer.text,
      reasoning: await answer.reasoningText,
      finishReason: await answer.finishReason,
      usage: spent(await answer.usage),
      pieces: parts.filter((part) => part.type === "text-delta").length,
    };
  },

  async tools({ model, prompt }) {
    const called = [];
    const options = { model: las(model), prompt, tools: tools(called), stopWhen: isStepCount(3), maxRetries };
    const answer = await generateText(options);
    const streamed = streamText(options);
    await all(streamed.fullStream);
    return {
      text: answer.text,
      steps: answer.steps.map((step) => step.finishReason),
      streamed: await streamed.text,
      streamedSteps: (await streamed.steps).map((step) => step.finishReason),
      called,
    };
  },

  async object({ model, prompt }) {
    const { object } = await generateObject({ model: las(model), schema: City, prompt, maxRetries });
    const form = Output.object({ schema: City });
    const { output } = await generateText({ model: las(model), output: form, prompt, maxRetries });
    return { object, output };
  },

  async embed({ model }) {
    const values = ["a cat", "a dog"];
    const { embeddings, usage } = await embedMany({ model: las.embeddingModel(model), values, maxRetries });
    return { lengths: embeddings.map((vector) => vector.length), usage };
  },

  async completion({ model, prompt }) {
    const answer = await generateText({ model: las.completionModel(model), prompt, maxRetries });
    return { text: answer.text, finishReason: answer.finishReason };
  },

  async fails({ model, ...rest }) {
    return failure(async () => {
      try {
        await generateText({ model: las(model), prompt: "hello", maxRetries, ...rest });
      } catch (error) {
        throw Object.assign(error, { status: error.statusCode, code: error.data?.error.code });
      }
    });
  },

  async breaks({ model }) {
    const parts = await all(streamText({ model: las(model), prompt: "hello", maxRetries, onError() {} }).fullStream);
    const of = (kind) => parts.filter((part) => part.type === kind);
    const text = of("text-delta").map((part) => part.text);
    return { text: text.join(""), errors: of("error").map(({ error }) => error?.message ?? String(error)) };
  },
});
