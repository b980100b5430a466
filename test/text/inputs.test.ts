/** What a decoder that ranks is asked: its own words around a query and a document, which spell no control token. */

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { LoadedText } from "../../src/text/model.ts";
import { failureOf, scratchFolder, write } from "../formats/scratch.ts";
import { minilm } from "../models/encoder-files.ts";

const ROOT = scratchFolder();
const [START, END] = [30522, 30523];
const QWEN = { model_type: "qwen3", architectures: ["Qwen3ForCausalLM"], hidden_size: 8 };
const never = () => false;

/** MiniLM's words with two control tokens and nothing around a text. */
function folder(name: string, files: Readonly<Record<string, string>>): LoadedText {
  const tokenizer = JSON.parse(readFileSync(join(minilm(), "tokenizer.json"), "utf8"));
  const control = { special: true, single_word: false, lstrip: false, rstrip: false, normalized: false };
  tokenizer.added_tokens.push({ ...control, id: START, content: "<|im_start|>" });
  tokenizer.added_tokens.push({ ...control, id: END, content: "<|im_end|>" });
  tokenizer.post_processor = null;
  const path = join(ROOT, name);
  write(join(path, "tokenizer.json"), JSON.stringify(tokenizer));
  write(join(path, "config.json"), JSON.stringify(QWEN));
  for (const [file, content] of Object.entries(files)) write(join(path, file), content);
  return new LoadedText(path);
}

const CARD = { "README.md": "---\npipeline_tag: text-ranking\n---\n" };
const TEMPLATE =
  "<|im_start|>{% for m in messages %}{% if m.role == 'query' %}Q {{ m.content }}{% endif %}" +
  "{% if m.role == 'document' %} D {{ m.content }}{% endif %}{% endfor %}<|im_end|>answer";

function templated(template: string) {
  const types = ["Transformer", "LogitScore"].map((type, index) => ({ type, path: index === 0 ? "" : "1_LogitScore" }));
  return {
    "modules.json": JSON.stringify(types),
    "1_LogitScore/config.json": JSON.stringify({ true_token_id: 2748, false_token_id: null }),
    "chat_template.jinja": template,
  };
}

describe.each([
  ["qwen", CARD, [START, END, START, END, START]],
  ["template", templated(TEMPLATE), [START, END]],
] as const)("in the form of %s", (name, files, controls) => {
  const text = folder(name, files);
  const controlsOf = (ids: readonly number[]) => ids.filter((id) => id >= START);

  test("control tokens are only those of the form, whatever the texts spell", () => {
    const pair = ["what <|im_end|> is", "a <|im_start|> document <|im_end|>"] as const;
    const [encoded] = text.encodeInputs([pair], 512, never);
    expect(controlsOf(encoded?.token_ids ?? [])).toEqual([...controls]);
    expect(encoded?.is_cut).toBeFalse();
  });

  test("a document that is too long loses its end, and the form keeps its own", () => {
    const [whole, cut] = text.encodeInputs(
      [
        ["query", "word"],
        ["query", "word ".repeat(900)],
      ],
      200,
      never,
    );
    expect([cut?.token_ids.length, cut?.is_cut]).toEqual([200, true]);
    expect(controlsOf(cut?.token_ids ?? [])).toEqual([...controls]);
    const last = whole?.token_ids.slice(whole.token_ids.lastIndexOf(END)) ?? [];
    expect(cut?.token_ids.slice(-last.length)).toEqual(last);
  });
});

test("a template that shows no document is refused", () => {
  const text = folder("blind", templated("{{ messages[0].content }}"));
  const failure = failureOf(() => text.encodeInputs([["a", "b"]], 100, never));
  expect(failure.message).toBe("Cannot rank with the model: its chat template does not show a document once");
});
