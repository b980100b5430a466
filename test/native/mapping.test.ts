/** Parts of files as arrays in place, and what becomes of them when the file changes. */

import { describe, expect, test } from "bun:test";
import { closeSync, openSync, readFileSync, renameSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { memoryOf, toFloat32, toUint32 } from "../../src/mlx/array.ts";
import { mapFile, wasFileCut } from "../../src/mlx/extras.ts";
import { add } from "../../src/mlx/ops.ts";
import { scratchFolder } from "../formats/scratch.ts";
import { WITH_EXTRAS } from "../open-mlx.ts";

const FOLDER = scratchFolder();
const BEFORE = 40;
const COUNT = 20_000; // some pages
const LEFT = (2 * 4096 - BEFORE) / 4; // to the end of a page

describe.if(process.platform === "linux" && WITH_EXTRAS)("a part of a file as an array", () => {
  test("has the values of the file from its place on", () => {
    using array = mapped(written("whole"));
    expect(toUint32(array)).toEqual(numbers());
  });

  test("enters operations as any other", () => {
    const path = written("operand", new Uint8Array(Float32Array.from(numbers()).buffer));
    using array = mapped(path, "float32");
    using twice = add(array, array);
    expect(toFloat32(twice)).toEqual(Float32Array.from(numbers(), (number) => 2 * number));
  });

  test("may be written to, and the file stays as it was", () => {
    const path = written("kept");
    const before = readFileSync(path);
    using array = mapped(path);
    memoryOf(array, 0, 4).fill(255);
    expect(toUint32(array)[0]).toBe(2 ** 32 - 1);
    expect(readFileSync(path).equals(before)).toBe(true);
  });

  test("stays when another file takes the place of its own", () => {
    const path = written("replaced");
    using array = mapped(path);
    writeFileSync(`${path}.new`, "shorter");
    renameSync(`${path}.new`, path);
    expect(toUint32(array)).toEqual(numbers());
    expect(wasFileCut()).toBe(false);
  });

  test("is not given beyond the file's end", () => {
    const path = written("short");
    const file = openSync(path, "r");
    expect(mapFile(file, BEFORE, [COUNT + 1], "uint32")).toBeNull();
    expect(mapFile(file, 2 ** 40, [1], "uint32")).toBeNull();
    closeSync(file);
  });

  test("reads as zeros where its file was cut, which is told once", () => {
    const path = written("cut");
    using array = mapped(path);
    using other = mapped(written("not-cut"));
    truncateSync(path, BEFORE + 4 * LEFT);
    const values = toUint32(array);
    expect(values.subarray(0, LEFT)).toEqual(numbers().subarray(0, LEFT));
    expect(values.subarray(LEFT)).toEqual(new Uint32Array(COUNT - LEFT));
    expect(wasFileCut()).toBe(true);
    expect(wasFileCut()).toBe(false);
    expect(toUint32(other)).toEqual(numbers());
  });
});

function numbers(): Uint32Array {
  return Uint32Array.from({ length: COUNT }, (_, index) => index + 1);
}

function written(name: string, bytes = new Uint8Array(numbers().buffer)): string {
  const path = join(FOLDER, name);
  writeFileSync(path, Buffer.concat([Buffer.alloc(BEFORE), bytes]));
  return path;
}

/** The descriptor may go: the array does not need it. */
function mapped(path: string, dtype: "uint32" | "float32" = "uint32") {
  const file = openSync(path, "r");
  const array = mapFile(file, BEFORE, [COUNT], dtype);
  closeSync(file);
  if (array === null) throw new Error(`${path} was not mapped`);
  return array;
}
