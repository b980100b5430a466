/** Tiny models in every form the loader takes, written by mlx-lm with what it says of each. */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { python } from "../python.ts";
import { ROOT } from "../root.ts";

export interface Expected {
  readonly prompt_ids: number[];
  readonly token_ids: number[];
  /** Between the two best logits of each step. */
  readonly gaps: number[];
  /** After the prompt. */
  readonly logits: number[];
}

export const FIXTURES = join(ROOT, "build/fixtures");
const SCRIPTS = ["test/models/fixtures.py", "test/models/greedy.py"];
export const STORIES = join(ROOT, "../shared/data/stories260K");

/** Writes them once; again when what writes them has changed. */
export function prepareFixtures(): void {
  const source = SCRIPTS.map((script) => readFileSync(join(ROOT, script), "utf8")).join("");
  const mark = join(FIXTURES, "complete");
  if (existsSync(mark) && readFileSync(mark, "utf8") === source) return;
  python("test/models/fixtures.py", FIXTURES, existsSync(STORIES) ? STORIES : "");
}

export function fixture(name: string): { path: string; expected: Expected } {
  const folder = join(FIXTURES, name);
  return { path: modelIn(folder), expected: JSON.parse(readFileSync(join(folder, "expected.json"), "utf8")) };
}

/** A family's model in one of its forms, and what mlx-lm says to each of its prompts. */
export function familyFixture(name: string): { path: string; expected: Expected[] } {
  const folder = join(FIXTURES, `family-${name}`);
  return { path: modelIn(folder), expected: JSON.parse(readFileSync(join(folder, "expected.json"), "utf8")) };
}

function modelIn(folder: string): string {
  return readdirSync(folder).includes("model.gguf") ? join(folder, "model.gguf") : folder;
}
