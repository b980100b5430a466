/** Commands whose output nobody reads to its end, from source. */

import { expect, test } from "bun:test";
import { existsSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "../root.ts";

const COMMAND_MS_MAX = 60_000;

/** Runs `bunsen WORDS` with its output as the shell is told; gives its exit code and what it complained of. */
async function bunsen(words: string, output: string): Promise<{ code: number; errors: string }> {
  const command = `"${process.execPath}" "${join(ROOT, "src/main.ts")}" ${words}`;
  const child = Bun.spawn(["sh", "-c", `{ ${command}; echo "code $?" >&2; } ${output}`], {
    env: { PATH: process.env["PATH"], HOME: mkdtempSync(join(tmpdir(), "bunsen-home-")) },
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
  });
  const [, errors = "", code] = /^(.*)code (\d+)\n$/s.exec(await child.stderr.text()) ?? [];
  return { code: Number(code), errors };
}

for (const words of ["models", "help", "serve --port 0 --json", "run Count to 50."]) {
  test(
    `${words} ends quietly when its pipe is closed`,
    async () => {
      expect(await bunsen(words, "| true")).toEqual({ code: 0, errors: "" });
    },
    COMMAND_MS_MAX,
  );
}

test(
  "run ends quietly when its reader has enough of the answer",
  async () => {
    expect(await bunsen("run Count to 50.", "| head -c 1")).toEqual({ code: 0, errors: "" });
  },
  COMMAND_MS_MAX,
);

test.skipIf(!existsSync("/dev/full"))("output that cannot be written is one sentence and code 1", async () => {
  const { code, errors } = await bunsen("help", ">/dev/full");
  expect(code).toBe(1);
  expect(errors).toMatch(/^bunsen: Cannot write the output: .*no space left.*\n$/);
});
