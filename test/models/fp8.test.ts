/** Weights in blocks of E4M3, which are not loaded: `quantize` reads them as MLX reads their numbers. */

import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openDenseSource } from "../../src/models/dense-source.ts";
import { loadModel } from "../../src/models/load.ts";
import { failureOf, scratchFolder } from "../formats/scratch.ts";
import "../open-mlx.ts";
import { python } from "../python.ts";

const OUT = scratchFolder();
const [FP8, BF16] = [join(OUT, "fp8"), join(OUT, "bf16")];
python("test/models/fp8.py", OUT);
asE4m3(join(FP8, "model.safetensors"));

/** MLX has no dtype of its own for these bytes, others write one. */
function asE4m3(file: string): void {
  const bytes = readFileSync(file);
  const length = Number(bytes.readBigUInt64LE());
  const header = bytes.toString("utf8", 8, 8 + length).replaceAll('"U8"', '"F8_E4M3"');
  const length_now = Buffer.alloc(8);
  length_now.writeBigUInt64LE(BigInt(Buffer.byteLength(header)));
  writeFileSync(file, Buffer.concat([length_now, Buffer.from(header), bytes.subarray(8 + length)]));
}

test("each weight is MLX's number times the scale of its block, in bfloat16", () => {
  using found = openDenseSource(FP8);
  using expected = openDenseSource(BF16);
  expect(found.tensors.map(({ name }) => name).sort()).toEqual(expected.tensors.map(({ name }) => name).sort());
  const others = new Map(expected.tensors.map((tensor) => [tensor.name, tensor]));
  for (const { name, dtype, shape, bytes, read } of found.tensors) {
    const other = others.get(name);
    expect({ name, dtype, shape, bytes }).toEqual({ name, dtype: "BF16", shape: other?.shape ?? [], bytes });
    expect(Buffer.compare(read(), other?.read() ?? Buffer.alloc(0))).toBe(0);
  }
});

test("a load is refused with what to do instead", () => {
  expect(failureOf(() => loadModel(FP8)).message).toBe(
    `Cannot load ${FP8}: it is quantised by "fp8", known are MLX's own forms and GGUF: "bunsen quantize" reads it`,
  );
});

test("scales of another shape than the blocks are refused by name", () => {
  const file = join(FP8, "config.json");
  writeFileSync(file, readFileSync(file, "utf8").replace("[16, 24]", "[16, 32]"));
  using source = openDenseSource(FP8);
  const tensor = source.tensors.find(({ name }) => name.endsWith("0.self_attn.k_proj.weight"));
  expect(failureOf(() => tensor?.read()).message).toEndWith(
    'tensor "model.layers.0.self_attn.k_proj.weight_scale_inv" must be F32 or BF16 of shape [2,2], found F32 of shape [2,3]',
  );
});
