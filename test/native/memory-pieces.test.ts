/** The memory of layers' weights, of which many lie in one piece. */

import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { release } from "node:os";
import { evaluate } from "../../src/mlx/array.ts";
import { type NativeLayer, newLayer } from "../../src/mlx/extras.ts";
import { zeros } from "../../src/mlx/ops.ts";
import { WITH_EXTRAS } from "../open-mlx.ts";

const ROWS = 16384;
const COLUMNS = 4096;
const GROUP = 64;
const BYTES = (ROWS * COLUMNS) / 2;
const [MAJOR = 0, MINOR = 0] = release().split(".").map(Number);
const CAN_COLLAPSE = MAJOR * 100 + MINOR >= 601 && existsSync("/sys/kernel/mm/transparent_hugepage/enabled");

/** Of quantised weights, which it keeps in strips of its own. */
function linear(): NativeLayer {
  using words = zeros([ROWS, COLUMNS / 8], "uint32");
  using scales = zeros([ROWS, COLUMNS / GROUP], "float32");
  using biases = zeros([ROWS, COLUMNS / GROUP], "float32");
  evaluate(words, scales, biases);
  return newLayer("linear", { weights: [words, scales, biases, null], numbers: [COLUMNS, GROUP, 4], factors: [] });
}

test.if(WITH_EXTRAS)("a layer that goes gives its memory back, though others of its piece stay", () => {
  const first = linear();
  using second = linear();
  const before = process.memoryUsage.rss();
  first[Symbol.dispose]();
  expect(before - process.memoryUsage.rss()).toBeGreaterThan(BYTES / 2);
  expect(second.handle).not.toBe(0);
});

test.if(WITH_EXTRAS && CAN_COLLAPSE)("soon after a load its weights lie in large pages", async () => {
  const before = largePagesKilobytes();
  using layer = linear();
  const wanted = before + (0.9 * BYTES) / 1024;
  while (largePagesKilobytes() < wanted) await Bun.sleep(20);
  expect(layer.handle).not.toBe(0);
});

function largePagesKilobytes(): number {
  return Number(/AnonHugePages: *(\d+) kB/.exec(readFileSync("/proc/self/smaps_rollup", "utf8"))?.[1] ?? 0);
}
