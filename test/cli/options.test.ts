/** The command line: what is taken, and how the rest is refused. */

import { describe, expect, test } from "bun:test";
import { parseOptions, UsageError } from "../../src/cli/options.ts";

function refusal(...words: string[]): string {
  try {
    parseOptions(words);
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
  throw new Error(`taken: ${words.join(" ")}`);
}

test("options come with their command", () => {
  const words = ["serve", "--model", "a", "--model=b", "--port", "0", "--host", "::1", "--json"];
  expect(parseOptions(words)).toEqual({
    command: "serve",
    words: [],
    models: ["a", "b"],
    host: "::1",
    port: 0,
    json: true,
    engine: {},
  });
  const asked = parseOptions(["run", "--model", "a", "why", "--", "--not-an-option"]);
  expect(asked).toMatchObject({ command: "run", words: ["why", "--not-an-option"], models: ["a"], port: 10_240 });
});

test("without a command there is help", () => {
  expect(parseOptions([]).command).toBe("help");
  expect(parseOptions(["serve", "-h"]).command).toBe("help");
  expect(parseOptions(["--version"]).command).toBe("version");
});

describe("a command line is refused by the option at fault", () => {
  const HELP = 'see "bunsen help"';
  const cases: [string[], string][] = [
    [["serve", "--prot", "1"], `Cannot use --prot: there is no such option; ${HELP}`],
    [["serve", "-x"], `Cannot use -x: there is no such option; ${HELP}`],
    [["serve", "--constructor"], `Cannot use --constructor: there is no such option; ${HELP}`],
    [["serve", "--model"], `Cannot use --model: it needs a value; ${HELP}`],
    [["serve", "--model="], `Cannot use --model: its value is empty; ${HELP}`],
    [["serve", "--model", ""], `Cannot use --model: its value is empty; ${HELP}`],
    [
      ["serve", "--model", "--json"],
      `Cannot use --model: it needs a value, and "--json" looks like an option; ${HELP}`,
    ],
    [["serve", "--json=yes"], `Cannot use --json: it takes no value; ${HELP}`],
    [["serve", "--port", "1", "--port=2"], `Cannot use --port: it is given twice; ${HELP}`],
    [["serve", "--port", "65536"], "Cannot use --port 65536: it must be a number from 0 to 65535"],
    [["serve", "--port=-1"], "Cannot use --port -1: it must be a number from 0 to 65535"],
    [["run", "--json"], 'Cannot use --json with "run"'],
    [["run", "--model", "a", "--model", "b"], 'Cannot use --model 2 times with "run": one model answers'],
    [["serve", "now"], 'Cannot use "now": "serve" takes no words'],
    [["sing"], 'Cannot do "sing": the commands are serve, run, models, version, help'],
  ];
  test.each(cases)("%j", (words, expected) => {
    expect(refusal(...words)).toBe(expected);
  });
});
