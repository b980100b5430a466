/** The default model, which set-up puts into build/, and an independent tokenizer for it. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { askSmollm } from "./oracle.ts";

const PATH = join(import.meta.dir, "../../build/models/SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf");

export function defaultModel(): string {
  if (existsSync(PATH)) return PATH;
  throw new Error(`${PATH} is missing; "npm run setup" fetches it`);
}

let reference: string | null = null;

export function referenceTokenizer(): string {
  reference ??= askSmollm(defaultModel());
  return reference;
}
