/** Lines that agents write anew into each request: the model is given one prompt for all, and the audit says so. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import type { VolatileLines } from "../../src/core/settings.ts";
import { scratchFolder } from "../formats/scratch.ts";
import { type ScriptedModel, scriptedModel } from "./scripted-model.ts";

const TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>";
const settings: { volatile_lines: VolatileLines } = { volatile_lines: "billing" };
const FOLDER = scratchFolder();
let model: ScriptedModel;
beforeAll(() => {
  model = scriptedModel(FOLDER, TEMPLATE, [], undefined, settings);
});
afterAll(async () => await model[Symbol.asyncDispose]());

const TIME = "The current time is 14:03:22.";

async function prompt(path: string, cch: string): Promise<string> {
  model.prompts.length = 0;
  const billing = `x-anthropic-billing-header: cc_version=2.1.42.834; cc_entrypoint=cli; cch=${cch};`;
  const messages = [{ role: "user", content: "hi" }];
  const bodies: Record<string, object> = {
    "/v1/messages": { max_tokens: 5, messages, system: [billing, TIME].map((text) => ({ type: "text", text })) },
    "/v1/chat/completions": { messages: [{ role: "system", content: `${billing}\n${TIME}` }, ...messages] },
    "/v1/responses": { instructions: `${billing}\n${TIME}`, input: "hi" },
  };
  const response = await model.server.post(path, { model: "tiny", ...bodies[path] });
  expect([response.status, (await response.text()) !== ""]).toEqual([200, true]);
  return model.prompts[0] ?? "";
}

for (const path of ["/v1/messages", "/v1/chat/completions", "/v1/responses"]) {
  test(`${path} reads a prompt without the billing line, and says how many lines it did not read as they came`, async () => {
    for (const cch of ["65abc", "0aaa9"]) {
      expect(await prompt(path, cch)).toBe(`<system>${TIME}<user>hi<assistant>`);
      expect(model.server.audit.at(-1)?.steadied_lines).toBe(1);
    }
    settings.volatile_lines = "times";
    expect(await prompt(path, "1")).toBe("<system>The current time is 14:00:00.<user>hi<assistant>");
    expect(model.server.audit.at(-1)?.steadied_lines).toBe(2);
    settings.volatile_lines = "keep";
    expect(await prompt(path, "2")).toContain("cch=2;");
    expect(model.server.audit.at(-1)?.steadied_lines).toBe(0);
    settings.volatile_lines = "billing";
  });
}
