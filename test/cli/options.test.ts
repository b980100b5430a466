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
    json: true,
    example: false,
    admin: false,
    local_only: false,
    config_file: null,
    context: null,
    quantization: { mode: "affine", bits: 4, group_size: 64 },
    settings: { host: "::1", port: 0 },
  });
  const asked = parseOptions(["run", "--model", "a", "why", "--", "--not-an-option"]);
  expect(asked).toMatchObject({ command: "run", words: ["why", "--not-an-option"], models: ["a"], settings: {} });
});

test("each setting of the engine is an option of serve", () => {
  const words = ["--rows-max", "2", "--decode-gap-ms-target=50", "--chunk-tokens-max", "64", "--draft-tokens-max", "8"];
  words.push("--isolation", "process", "--queue-max", "9", "--stall-ms-max", "5000");
  const { settings } = parseOptions(["serve", ...words, "--kv-bytes-max", "1073741824", "--kv-disk-bytes-max=2GiB"]);
  expect(settings).toEqual({
    isolation: "process",
    rows_max: 2,
    queue_max: 9,
    stall_ms_max: 5000,
    decode_gap_ms_target: 50,
    chunk_tokens_max: 64,
    draft_tokens_max: 8,
    kv_bytes_max: 2 ** 30,
    kv_disk_bytes_max: 2 ** 31,
  });
});

test("without a command there is help", () => {
  expect(parseOptions([]).command).toBe("help");
  expect(parseOptions(["serve", "-h"]).command).toBe("help");
  expect(parseOptions(["--version"]).command).toBe("version");
});

describe("a command line is refused by the option at fault", () => {
  const BYTES = "it must be a number of bytes, or of KiB, MiB or GiB as in 4GiB,";
  const HELP = 'see "bunsen help"';
  const cases: [string[], string][] = [
    [["serve", "--prot", "1"], `Cannot use --prot: there is no such option, perhaps --port was meant; ${HELP}`],
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
    [["serve", "--port", "65536"], "Cannot use --port 65536: it must be a whole number from 0 to 65535"],
    [["serve", "--port=-1"], "Cannot use --port -1: it must be a whole number from 0 to 65535"],
    [["serve", "--isolation", "vm"], "Cannot use --isolation vm: it must be worker or process"],
    [["serve", "--rows-max", "0"], "Cannot use --rows-max 0: it must be a whole number from 1 to 64"],
    [["serve", "--rows-max", "2KiB"], "Cannot use --rows-max 2KiB: it must be a whole number from 1 to 64"],
    [
      ["serve", "--decode-gap-ms-target", "0.5"],
      "Cannot use --decode-gap-ms-target 0.5: it must be a whole number from 1 to 10000",
    ],
    [
      ["serve", "--chunk-tokens-max", "31"],
      "Cannot use --chunk-tokens-max 31: it must be a whole number from 32 to 8192",
    ],
    [["serve", "--draft-tokens-max", "9"], "Cannot use --draft-tokens-max 9: it must be a whole number from 0 to 8"],
    [
      ["serve", "--kv-bytes-max", "1023KiB"],
      `Cannot use --kv-bytes-max 1023KiB: ${BYTES} from 1048576 to 1099511627776`,
    ],
    [
      ["serve", "--kv-disk-bytes-max", "4GB"],
      `Cannot use --kv-disk-bytes-max 4GB: ${BYTES} from 0 to 1125899906842624`,
    ],
    [["run", "--rows-max", "2"], 'Cannot use --rows-max with "run"'],
    [["run", "--json"], 'Cannot use --json with "run"'],
    [["run", "--model", "a", "--model", "b"], 'Cannot use --model 2 times with "run": one model answers'],
    [["show"], 'Cannot use "show": expected "bunsen show MODEL"'],
    [["quantize", "a"], 'Cannot use "quantize": expected "bunsen quantize MODEL FOLDER"'],
    [["fit", "a", "--context", "0"], "Cannot use --context 0: it must be a whole number of at least 1"],
    [["quantize", "a", "b", "--mode", "gptq"], "Cannot use --mode gptq: it must be one of affine, mxfp4, mxfp8, nvfp4"],
    [["serve", "now"], 'Cannot use "now": "serve" takes no words'],
    [
      ["sing"],
      'Cannot do "sing": the commands are serve, run, models, show, fit, pull, quantize, config, audit, credentials, keys, version, help',
    ],
  ];
  test.each(cases)("%j", (words, expected) => {
    expect(refusal(...words)).toBe(expected);
  });
});
