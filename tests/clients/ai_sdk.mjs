// The Vercel AI SDK with its provider for OpenAI-compatible endpoints.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany, generateObject, generateText, isStepCount, Output, streamText, tool } from "ai";
import { z } from "zod";
import { all, apiKey, baseURL, failure, run } from "./session.mjs";

const las = createOpenAICompatible({ name: "las", baseURL, apiKey, includeUsage: true, supportsStructuredOutputs: true });
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
    const answer = await generateText({ model: las(model), prompt, maxRetries: 0 });
    const { text, reasoningText, finishReason } = answer;
    return { text, reasoning: reasoningText, finishReason, usage: spent(answer.usage), toolCalls: answer.toolCalls.length };
  },

  async stream({ model, prompt }) {
    const answer = streamText({ model: las(model), prompt, maxRetries: 0 });
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
    const options = { model: las(model), prompt, tools: tools(called), stopWhen: isStepCount(3), maxRetries: 0 };
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
    const { object } = await generateObject({ model: las(model), schema: City, prompt, maxRetries: 0 });
    const { output } = await generateText({ model: las(model), output: Output.object({ schema: City }), prompt, maxRetries: 0 });
    return { object, output };
  },

  async embed({ model }) {
    const { embeddings, usage } = await embedMany({ model: las.embeddingModel(model), values: ["a cat", "a dog"], maxRetries: 0 });
    return { lengths: embeddings.map((vector) => vector.length), usage };
  },

  async completion({ model, prompt }) {
    const answer = await generateText({ model: las.completionModel(model), prompt, maxRetries: 0 });
    return { text: answer.text, finishReason: answer.finishReason };
  },

  async fails({ model, ...rest }) {
    const error = await failure(async () => {
      try {
        await generateText({ model: las(model), prompt: "hello", maxRetries: 0, ...rest });
      } catch (error) {
        throw Object.assign(error, { status: error.statusCode, code: error.data?.error.code });
      }
    });
    return error;
  },

  async breaks({ model }) {
    const parts = await all(streamText({ model: las(model), prompt: "hello", maxRetries: 0, onError() {} }).fullStream);
    const text = parts.filter((part) => part.type === "text-delta").map((part) => part.text).join("");
    const errors = parts.filter((part) => part.type === "error").map((part) => part.error?.message ?? String(part.error));
    return { text, errors };
  },
});
