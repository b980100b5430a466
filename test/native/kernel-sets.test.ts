/** Every property of the kernels holds for every set this machine has, not only for the one it would choose. */

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { ROOT } from "../root.ts";

const PROPERTIES = [
  "affine-product",
  "dense-product",
  "row-operations",
  "rope",
  "dot-product-attention",
  "select",
  "dequantize",
  "experts",
  "packed-cache",
  "small-floats",
];

/** What the processor must have, the best set first. */
const NEEDS: Readonly<Record<string, readonly string[]>> = {
  avx512vnni: ["avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"],
  avx512: ["avx512f", "avx512bw", "avx512dq", "avx512vl"],
  avx2: ["avx2", "fma"],
  portable: [],
};

describe.if(process.platform === "linux")("with the kernels named by BUNSEN_KERNELS", () => {
  const [, flags = ""] = /^flags\s*:(.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8")) ?? [];
  const has = (set: string) => (NEEDS[set] ?? []).every((flag) => flags.split(" ").includes(flag));

  // The first is the one every other test runs with.
  test.each(Object.keys(NEEDS).filter(has).slice(1))(
    "%s every property holds",
    (set) => {
      const { exitCode, output } = runTests(PROPERTIES, set);
      expect({ exitCode, output: exitCode === 0 ? "" : output }).toEqual({ exitCode: 0, output: "" });
    },
    300_000,
  );

  test.each(["nonsense", ...Object.keys(NEEDS).filter((set) => !has(set))])(
    "%s the first kernel is refused",
    (set) => {
      const { exitCode, output } = runTests(["rope"], set);
      expect(exitCode).toBe(1);
      expect(output).toContain(`BUNSEN_KERNELS is "${set}", which this machine has not`);
    },
    60_000,
  );
});

// A slow set beside other work takes some seconds for what another does in one.
const TEST_MS_MAX = 60_000;

/** In a process of its own, because a process chooses its kernels once. */
function runTests(files: readonly string[], set: string): { exitCode: number | null; output: string } {
  const words = [process.execPath, "test", "--timeout", String(TEST_MS_MAX)];
  const run = Bun.spawnSync([...words, ...files.map((file) => `./test/native/${file}.test.ts`)], {
    cwd: ROOT,
    env: { ...process.env, BUNSEN_KERNELS: set },
  });
  return { exitCode: run.exitCode, output: `${run.stdout}${run.stderr}` };
}
