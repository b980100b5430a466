/** The clients that Python has, unmodified: two tools and a last answer, and chats with the default model. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { scratchFolder } from "../formats/scratch.ts";
import { ROOT } from "../root.ts";
import { MODEL } from "../served.ts";
import { ANSWER, TURNS } from "./conversation.ts";
import { TwoServers } from "./two-servers.ts";

const PACKAGES = process.env["BUNSEN_TEST_CLIENTS"] ?? join(ROOT, "build/clients");
const CALLED = [
  ["weather", { city: "Oslo" }],
  ["clock", {}],
];
const OFFLINE = { LITELLM_LOCAL_MODEL_COST_MAP: "True" };
const FOLDER = scratchFolder();

interface Agent {
  readonly text: string;
  readonly called: readonly unknown[];
}

interface Chat {
  readonly whole: string;
  readonly [more: string]: unknown;
}

/** What each script does beyond saying the same as the others, and how often its agent asks. */
const CLIENTS: readonly { readonly script: string; readonly loops: number; readonly more: Record<string, unknown> }[] =
  [
    { script: "with_openai.py", loops: 3, more: { models: expect.arrayContaining([MODEL]), dimensions: 384 } },
    { script: "with_anthropic.py", loops: 2, more: { models: expect.arrayContaining([MODEL]), counts_apart: 0 } },
    { script: "with_ollama.py", loops: 2, more: { models: expect.arrayContaining([MODEL]), dimensions: 384 } },
    { script: "with_litellm.py", loops: 3, more: {} },
    { script: "with_langchain.py", loops: 4, more: {} },
    { script: "with_pydantic_ai.py", loops: 2, more: { formed: expect.any(String) } },
    { script: "with_agents.py", loops: 3, more: { handed_to: "guide" } },
  ];

let servers: TwoServers;

beforeAll(async () => {
  servers = await TwoServers.start(FOLDER);
}, 120_000);

afterAll(async () => await servers[Symbol.asyncDispose]());

async function run(words: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string> {
  const running = Bun.spawn(["python3", ...words], {
    env: {
      PATH: process.env["PATH"],
      HOME: FOLDER,
      PYTHONPATH: PACKAGES,
      PYTHONDONTWRITEBYTECODE: "1",
      ...OFFLINE,
      ...env,
    },
    stdout: "pipe",
    stderr: "pipe",
  });
  const [said, complaint] = await Promise.all([running.stdout.text(), running.stderr.text()]);
  if ((await running.exited) === 0) return said;
  throw new Error(`${words.join(" ")} failed; "npm test" installs what it needs\n${complaint}`);
}

async function told<Told>(script: string, task: "agent" | "chat", url: string): Promise<Told> {
  const said = await run([join(import.meta.dir, script), task, url]);
  return JSON.parse(said.trim().split("\n").at(-1) ?? ""); // LiteLLM says more before it
}

describe.each([...CLIENTS])("$script", ({ script, loops, more }) => {
  test("uses two tools, one after the other, and says what came of them", async () => {
    servers.scripted.answers.splice(0, Number.POSITIVE_INFINITY, ...Array.from({ length: loops }, () => TURNS).flat());
    const agents = await told<readonly Agent[]>(script, "agent", servers.scripted_url);
    expect(agents).toEqual(Array.from({ length: loops }, () => ({ text: ANSWER, called: CALLED })));
  }, 180_000);

  test("chats with the default model", async () => {
    const { whole, ...others } = await told<Chat>(script, "chat", servers.real.url);
    expect(whole).toContain("Paris");
    const texts = [others["streamed"] ?? whole, ...((others["texts"] as readonly string[] | undefined) ?? [])];
    expect(texts).toEqual(texts.map(() => whole));
    expect(others).toMatchObject(more);
  }, 180_000);
});

describe("the command llm", () => {
  const llm = async (url: string, name: string, ...words: readonly string[]) => {
    const model = { model_id: "bunsen", model_name: name, api_base: `${url}/v1`, supports_tools: true };
    writeFileSync(join(FOLDER, "extra-openai-models.yaml"), JSON.stringify([model]));
    const env = { LLM_USER_PATH: FOLDER, OPENAI_API_KEY: "none" };
    return (await run(["-m", "llm", "prompt", "-m", "bunsen", ...words], env)).trim();
  };

  test("prompts the default model, in a stream and whole", async () => {
    const words = ["What is the capital of France?", "-o", "temperature", "0", "-o", "max_tokens", "24"];
    const streamed = await llm(servers.real.url, MODEL, ...words);
    expect(streamed).toContain("Paris");
    expect(await llm(servers.real.url, MODEL, ...words, "--no-stream")).toBe(streamed);
  }, 180_000);

  test("uses two tools, one after the other, and says what came of them", async () => {
    servers.scripted.answers.splice(0, Number.POSITIVE_INFINITY, ...TURNS);
    const functions = join(import.meta.dir, "asked.py");
    const said = await llm(servers.scripted_url, "tiny", "What is the weather?", "--functions", functions);
    expect(said).toEndWith(ANSWER);
    expect(servers.scripted.prompts.at(-1)).toContain("12 degrees in Oslo");
    expect(servers.scripted.prompts.at(-1)).toContain("half past ten");
  }, 180_000);
});
