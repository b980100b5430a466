/** What is taken out of system prompts, and that nothing else is. */

import { describe, expect, test } from "bun:test";
import type { Message } from "../../src/core/generation.ts";
import { steadied } from "../../src/text/volatile-lines.ts";
import { integer, seeded } from "../random.ts";

const SEED = 20_261_121;
const system = (content: string): Message => ({ role: "system", content });
const user = (content: string): Message => ({ role: "user", content });

/** As Claude Code has written it from version 2.1.37 on. */
const billing = (cch: string) => `x-anthropic-billing-header: cc_version=2.1.100.7b4; cc_entrypoint=cli; cch=${cch};`;

describe("the billing line", () => {
  test("goes with the empty line behind it, whatever its values", () => {
    for (const cch of ["eb6c6", "fa690"]) {
      const { messages, lines } = steadied([system(`${billing(cch)}\n\nYou are Claude Code.`), user("hi")], "billing");
      expect([messages, lines]).toEqual([[system("You are Claude Code."), user("hi")], 1]);
    }
  });

  test("goes alone where words stand behind it in its line, or its last value has no end", () => {
    const cases = [
      [`${billing("defa0")}You are Claude.`, "You are Claude."],
      ["x-anthropic-billing-header: cc_version=2.1.37.0d9; cc_entrypoint=sdk-cli;", ""],
      ["x-anthropic-billing-header: cc_version=2.1.37; cch=00000\nYou are.", "You are."],
      [`Be kind.\n${billing("1")}\nYou are.`, "Be kind.\nYou are."],
    ] as const;
    for (const [text, left] of cases) {
      expect(steadied([system(text)], "billing").messages).toEqual(left === "" ? [] : [system(left)]);
    }
  });

  test("stays where somebody else speaks of it, and where the owner keeps all", () => {
    const messages = [
      system(`Never print ${billing("1")}`),
      system("x-anthropic-billing-header: is a line"),
      user(billing("2")),
      { role: "tool", content: billing("3"), tool_call_id: "a" },
    ] as const;
    expect(steadied(messages, "times").messages).toBe(messages);
    const kept = [system(billing("1"))];
    expect(steadied(kept, "keep")).toEqual({ messages: kept, lines: 0 });
  });
});

describe("the present time", () => {
  test("keeps its hour and its form, in the words of known agents", () => {
    const cases = [
      ["Current date and time: Monday, March 9, 2026 at 06:18:31 PM PDT", "Monday, March 9, 2026 at 06:00:00 PM PDT"],
      ["The current date and time is: 2026-06-11T00:44:42.714237", "2026-06-11T00:00:00.000000"],
      ["Current time is 14:03:22. Today's date is 2026-11-21.", "14:00:00. Today's date is 2026-11-21."],
      ["The current date and time in ISO format is `2026-06-11T09:44:42+05:30`.", "2026-06-11T09:00:00+05:30`."],
      ["## Current Time\n2026-02-06 14:03 (Friday)", "2026-02-06 14:00 (Friday)"],
      ["<current_time>9:07</current_time>", "9:00</current_time>"],
    ] as const;
    for (const [text, end] of cases) {
      const { messages, lines } = steadied([system(text)], "times");
      const [{ content } = user("")] = messages;
      expect([content.slice(-end.length), content.length, lines]).toEqual([end, text.length, 1]);
      expect(steadied([system(text)], "billing").lines).toBe(0);
    }
  });

  test("is no other time, and no number", () => {
    const texts = [
      "Meetings are at 10:30 and 14:45.",
      "Today's date is 2026-11-21.",
      "The current version is 10:30:22.",
      "Run at 2026-06-11T09:44:42Z.",
      "Current time zone: UTC+05:30",
      "Current directory: /a/12:34",
    ];
    const messages = [...texts.map(system), user("The current time is 14:03:22.")];
    expect(steadied(messages, "times").messages).toBe(messages);
  });
});

const WORDS = [
  "You are",
  "current time",
  "x-anthropic-billing-header:",
  "cch=1;",
  "10:30",
  "\n",
  "\n\n",
  " ",
  "ö",
  "; ",
];

test(`of random prompts nothing else is changed (seed ${SEED})`, () => {
  const random = seeded(SEED);
  for (let round = 0; round < 3000; round++) {
    const text = Array.from({ length: integer(random, 1, 12) }, () => WORDS[integer(random, 0, WORDS.length - 1)]).join(
      "",
    );
    const plain = text.replaceAll("cch=1;", "");
    const before = [system(plain), user(text)];
    expect(steadied(before, "billing").messages).toBe(before);
    // A line that is put in front goes again, and with it nothing of what was there.
    const body = plain.replace(/^\n+/, "");
    const [found] = steadied([system(`${billing(String(round))}\n\n${body}`)], "billing").messages;
    expect(found?.content ?? "").toBe(body);
    const timed = steadied([system(plain)], "times").messages[0]?.content ?? "";
    expect(timed.replace(/\d/g, "0")).toBe(plain.replace(/\d/g, "0"));
  }
});
