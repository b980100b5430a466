/** Headers and weights against the reference package `gguf`, on files it wrote and on the default model. */

import { beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { FileBytes } from "../../src/formats/file-bytes.ts";
import { isRepacked, repack } from "../../src/formats/ggml-blocks.ts";
import { dequantizeBlocks, groupBlocks, isGrouped, isSixteen } from "../../src/formats/ggml-k-blocks.ts";
import { GGML_TYPES } from "../../src/formats/ggml-types.ts";
import { type GgufFile, type GgufTensor, readGguf } from "../../src/formats/gguf.ts";
import { python } from "../python.ts";
import { affineWeights, firstDifference, groupedWeights } from "./affine.ts";
import { scratchFolder } from "./scratch.ts";

const FOLDER = scratchFolder();
const DEFAULT_MODEL = join(import.meta.dir, "../../build/models/SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf");

/** The first rows of a tensor as float32. */
function weightsOf(gguf: GgufFile, name: string, rows_max: number): Float32Array {
  const tensor = gguf.tensors.get(name);
  if (tensor === undefined) throw new Error(`no tensor ${name}`);
  const [all_rows = 0, columns = 0] = tensor.shape;
  const rows = Math.min(all_rows, rows_max);
  using file = new FileBytes(gguf.path);
  return widened(tensor, file.read(tensor.offset, (tensor.bytes / all_rows) * rows, name), rows, columns);
}

function widened(tensor: GgufTensor, bytes: Uint8Array<ArrayBuffer>, rows: number, columns: number): Float32Array {
  if (isRepacked(tensor.type)) {
    return affineWeights(repack(tensor.type, bytes, rows, columns), "stepwise");
  }
  if (isGrouped(tensor.type)) return groupedWeights(groupBlocks(tensor.type, bytes));
  if (isSixteen(tensor.type)) return dequantizeBlocks(tensor.type, bytes);
  if (tensor.type === "F16") return Float32Array.from(new Float16Array(bytes.buffer));
  if (tensor.type === "BF16")
    return new Float32Array(Uint32Array.from(new Uint16Array(bytes.buffer), (bits) => bits << 16).buffer);
  expect(tensor.type).toBe("F32");
  return new Float32Array(bytes.buffer);
}

function expectedWeights(name: string): Float32Array {
  return new Float32Array(new Uint8Array(readFileSync(join(FOLDER, `${name}.f32`))).buffer);
}

beforeAll(() => {
  python("test/formats/oracle.py", "write", FOLDER);
}, 60_000);

describe("a file of the reference writer", () => {
  const types = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q8_0"];
  test.each(types)("with %s gives the reference's weights bit for bit", (type) => {
    const gguf = readGguf(join(FOLDER, `${type}.gguf`));
    expect(gguf.tensors.get("w")).toMatchObject({ type, shape: [24, 256] });
    expect(firstDifference(weightsOf(gguf, "w", 24), expectedWeights(type))).toBeNull();
  });

  const k_types = ["Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"];
  test.each(k_types)("with %s gives the reference's weights bit for bit", (type) => {
    const gguf = readGguf(join(FOLDER, `${type}.gguf`));
    expect(gguf.tensors.get("w")).toMatchObject({ type, shape: [24, 256] });
    expect(firstDifference(weightsOf(gguf, "w", 24), expectedWeights(type))).toBeNull();
  });

  test("has its metadata", () => {
    const { metadata } = readGguf(join(FOLDER, "F32.gguf"));
    expect(Object.fromEntries(metadata)).toEqual({
      "general.architecture": "llama",
      text: "né\n😀",
      strings: ["", "Ġa", "▁b"],
      integers: [-1, 2, 3],
      floats: [0.5, -1.5],
      yes: true,
      large: 2n ** 53n + 1n,
      short: -300,
      double: 0.1,
    });
  });

  test("knows every type of the reference and the size of its blocks", () => {
    const known = Object.fromEntries(
      [...GGML_TYPES].map(([number, type]) => [number, [type.name, type.block_elements, type.block_bytes]]),
    );
    const reference = JSON.parse(readFileSync(join(FOLDER, "types.json"), "utf8"));
    // ggml itself stores the scale and the sum of a Q8_1 block as half floats; the package counts them as floats.
    expect(known).toEqual({ ...reference, 9: ["Q8_1", 32, 36] });
  });
});

describe("the default model", () => {
  const sampled = ["blk.0.attn_q.weight", "blk.15.ffn_down.weight", "blk.29.attn_v.weight", "token_embd.weight"];
  test.skipIf(!existsSync(DEFAULT_MODEL))(
    "has the header and the weights that the reference reads",
    () => {
      python("test/formats/oracle.py", "read", DEFAULT_MODEL, FOLDER, ...sampled);
      const gguf = readGguf(DEFAULT_MODEL);
      const reference = JSON.parse(readFileSync(join(FOLDER, "header.json"), "utf8"));
      expect(Object.fromEntries(gguf.metadata)).toEqual(reference.metadata);
      const found = [...gguf.tensors.values()];
      expect(found.map(({ name, shape, type, offset, bytes }) => [name, shape, type, offset, bytes])).toEqual(
        reference.tensors,
      );
      for (const name of sampled) {
        expect([name, firstDifference(weightsOf(gguf, name, 256), expectedWeights(name))]).toEqual([name, null]);
      }
    },
    60_000,
  );
});
