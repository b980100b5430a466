/** The memory of layers' weights, of which many lie in one piece. */

import { expect, test } from "bun:test";
import { evaluate } from "../../src/mlx/array.ts";
import { type NativeLayer, newLayer } from "../../src/mlx/extras.ts";
import { zeros } from "../../src/mlx/ops.ts";
import { WITH_EXTRAS } from "../open-mlx.ts";

const ROWS = 16384;
const COLUMNS = 4096;
const GROUP = 64;
const BYTES = (ROWS * COLUMNS) / 2;

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
