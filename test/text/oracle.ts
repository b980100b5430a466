/** Asks the reference implementations (test/text/oracle.py). */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { python } from "../python.ts";

export interface RenderRequest {
  readonly act: "render";
  /** Local time. */
  readonly now: string;
  readonly template: string;
  readonly variables: Readonly<Record<string, unknown>>;
}

export interface EncodeRequest {
  readonly act: "encode";
  /** A path of a tokenizer.json, or its content. */
  readonly tokenizer: string;
  readonly texts: readonly string[];
  readonly add_special?: boolean;
  /** Special tokens in the text are ordinary text. */
  readonly special_as_text?: boolean;
}

export interface DecodeRequest {
  readonly act: "decode";
  readonly tokenizer: string;
  readonly ids: readonly (readonly number[])[];
}

export type Rendered = { readonly text: string } | { readonly error: string };

export const askRender = (requests: readonly RenderRequest[]) => ask(requests) as Rendered[];
export const askEncode = (request: Omit<EncodeRequest, "act">) => ask([{ act: "encode", ...request }])[0] as number[][];
export const askDecode = (request: Omit<DecodeRequest, "act">) => ask([{ act: "decode", ...request }])[0] as string[];
/** A tokenizer.json for a SmolLM GGUF file that our code had no part in. */
export const askSmollm = (path: string) => ask([{ act: "smollm", path }])[0] as string;

function ask(requests: readonly object[]): unknown[] {
  const folder = mkdtempSync(join(tmpdir(), "bunsen-oracle-"));
  try {
    const file = join(folder, "requests.json");
    writeFileSync(file, JSON.stringify(requests));
    return JSON.parse(python("test/text/oracle.py", file));
  } finally {
    rmSync(folder, { recursive: true });
  }
}
