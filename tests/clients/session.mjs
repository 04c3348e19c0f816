// A scripted session: a line on standard input names a step and what it is given, a line on standard output is its result.
import { webcrypto } from "node:crypto";
import { createInterface } from "node:readline";

const [, , baseURL, apiKey] = process.argv;
export { apiKey, baseURL };

// Node 18 has it, but under another name.
globalThis.crypto ??= webcrypto;

// Libraries may talk; standard output is for results.
console.log = console.info = console.error;

/** The error of a client, as far as a program would look at it. */
export function problem(error) {
  const { status, code, param, type } = error;
  return { kind: error.constructor.name, status, code, param, type, message: error.message };
}

/** What `call` throws, or a complaint that it does not. */
export async function failure(call) {
  try {
    await call();
  } catch (error) {
    return problem(error);
  }
  throw new Error("nothing was thrown");
}

export async function all(stream) {
  const items = [];
  for await (const item of stream) items.push(item);
  return items;
}

export async function run(steps) {
  for await (const line of createInterface({ input: process.stdin })) {
    const { name, given } = JSON.parse(line);
    let answer;
    try {
      answer = { name, result: await steps[name](given) };
    } catch (error) {
      answer = { name, error: problem(error), stack: error.stack };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
}
