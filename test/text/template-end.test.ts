/** Real chat templates with a last message of the assistant that is to go on. */

import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ChatTemplate } from "../../src/text/chat-template.ts";
import { renderTo } from "../../src/text/template-end.ts";
import { failureOf } from "../formats/scratch.ts";
import { ROOT } from "../root.ts";

const FOLDER = join(ROOT, "../shared/data/chat-templates/templates");
const NOW = new Date(2026, 2, 7, 9, 5, 4);
const NAMED = new Map([
  ["bos_token", "<s>"],
  ["eos_token", "</s>"],
]);
const MARK = "\u{f0001}";
const TALK = [
  { role: "user", content: "Which is the best?" },
  { role: "assistant", content: "The best of them is (" },
];

function ended(source: string, ends: "answer" | "begun" | "bare", messages = TALK): string {
  const template = new ChatTemplate(source, NAMED);
  return renderTo(ends, messages, MARK, (shown, options) => template.render(shown, NOW, options));
}

/** Five want tools, or cannot be rendered at all. */
function writesTalks(name: string): boolean {
  try {
    return ended(sourceOf(name), "answer") !== "";
  } catch {
    return false;
  }
}

function sourceOf(name: string): string {
  return readFileSync(join(FOLDER, name), "utf8");
}

describe.skipIf(!existsSync(FOLDER))("a last message that is to go on is the end of the prompt with", () => {
  const names = existsSync(FOLDER) ? readdirSync(FOLDER).sort() : [];
  const able = names.filter(writesTalks);
  test("nearly all templates", () => expect(able.length).toBeGreaterThanOrEqual(names.length - 5));
  test.each(able)("%s", (name) => {
    const text = ended(sourceOf(name), "begun");
    expect(text).toEndWith("The best of them is (");
    expect(text).not.toContain(MARK);
    expect(text).toContain("Which is the best?");
  });
});

test("its last white space stays, though the template trims", () => {
  const talk = [{ role: "assistant", content: " one\n```json\n" }];
  expect(ended("{% for m in messages %}{{ m.content | trim }}<end>{% endfor %}", "begun", talk)).toBe("one\n```json\n");
});

test("a template that writes no answers refuses it", () => {
  const source = "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}";
  const failure = failureOf(() => ended(source, "begun"));
  expect(failure.message).toBe("Cannot go on with the last message: the model's chat template does not write it");
});
