/** The tokenizer of a GGUF file written as a folder's: the `tokenizers` package reads what we read of the file. */

import { beforeAll, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { readGguf } from "../../src/formats/gguf.ts";
import { readFolder } from "../../src/text/folder.ts";
import { readGgufSource } from "../../src/text/gguf-source.ts";
import { LoadedText } from "../../src/text/model.ts";
import { publishedFiles } from "../../src/text/published-files.ts";
import { scratchFolder, write } from "../formats/scratch.ts";
import { FIXTURES, prepareFixtures, STORIES } from "../models/fixtures.ts";
import { defaultModel } from "./default-model.ts";
import { askEncode } from "./oracle.ts";
import { RandomText, testSeed } from "./random-text.ts";

const CONFIG = JSON.stringify({ model_type: "llama", architectures: ["LlamaForCausalLM"] });

beforeAll(prepareFixtures, 180_000);

function published(path: string): string {
  const folder = scratchFolder();
  write(join(folder, "config.json"), CONFIG);
  for (const [name, text] of publishedFiles(path)) write(join(folder, name), text);
  return folder;
}

test.each([
  ["the default model", defaultModel(), ["<|im_start|>", "<|im_end|>", "<|endoftext|>"]],
  ["a SentencePiece model", join(FIXTURES, "gguf-stories/model.gguf"), ["<s>", "</s>"]],
])("%s: the same ids of random text, for us and for others", (name, path, specials) => {
  if (name !== "the default model" && !existsSync(STORIES)) return;
  const folder = published(path);
  const [file, written] = [new LoadedText(path), new LoadedText(folder)];
  const texts = new RandomText(testSeed(name), specials).texts(300);
  const asked = askEncode({ tokenizer: join(folder, "tokenizer.json"), texts, add_special: true });
  for (const [index, text] of texts.entries()) {
    const ids = file.encodeText(text);
    expect({ text, ids: written.encodeText(text) }).toEqual({ text, ids });
    expect({ text, ids: asked[index] ?? [] }).toEqual({ text, ids });
  }
});

test("the folder has the template, the tokens' names and where a turn ends", () => {
  const before = readGgufSource(readGguf(defaultModel()));
  const after = readFolder(published(defaultModel()));
  const { chat_template, named_tokens, sampling } = before;
  expect(after).toMatchObject({ chat_template, named_tokens, sampling });
  expect(new Set(after.end_token_ids)).toEqual(new Set(before.end_token_ids));
});
