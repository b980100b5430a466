/** Our header, the bridge and the library against the record of mlx-c's functions. */

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { extra_symbols, symbols } from "../../src/mlx/symbols.ts";
import { ROOT } from "../root.ts";
import { checkExports, checkHeader, checkTables, type Declarations, parseDeclarations, type Tables } from "./abi.ts";

const abi = declarationsIn("native/mlx-c-signatures.txt");
const additions = declarationsIn("native/bunsen.h");
const header: Declarations = new Map([...declarationsIn("native/mlxc.h"), ...additions]);

test("the record of the ABI is read whole", () => {
  const lines = readFileSync(join(ROOT, "native/mlx-c-signatures.txt"), "utf8").split("\n");
  expect(abi.size).toBe(lines.filter((line) => line !== "" && !line.startsWith("#")).length);
});

test("each function our header declares is in the ABI with the same types", () => {
  expect(header.size).toBeGreaterThan(80);
  expect(checkHeader(header, abi)).toEqual([]);
});

test("each function the bridge calls has the types and the header of the ABI", () => {
  expect(checkTables({ ...symbols, bunsen: extra_symbols }, new Map([...additions, ...abi]))).toEqual([]);
});

describe.if(process.platform === "linux")("on Linux", () => {
  test("our library exports the functions our header declares and no others", () => {
    expect(checkExports(exportsOf("build/native/libmlxc.so"), header)).toEqual([]);
  });

  test("our library has each function the bridge calls", () => {
    expect(checkTables(symbols, header)).toEqual([]);
  });
});

describe("the checker", () => {
  const small = parseDeclarations(`
## array.h
mlx_array mlx_array_new(void)
const int* mlx_array_shape(const mlx_array arr)
mlx_array mlx_array_new_data_managed(void* data, const int* shape, int dim, mlx_dtype dtype, void (*dtor)(void*))
## ops.h
int mlx_add(mlx_array* res, const mlx_array a, const mlx_array b, const mlx_stream s)
int mlx_arange(mlx_array* res, double start, mlx_optional_int bits , size_t num, const float alpha)
`);
  const unary = { args: ["ptr", "ptr", "ptr"], returns: "i32" };
  const add = { args: ["ptr", "ptr", "ptr", "ptr"], returns: "i32" };

  test("reads arguments of every form", () => {
    expect(small.get("mlx_array_new")?.args).toEqual([]);
    expect(small.get("mlx_array_shape")).toMatchObject({
      group: "array",
      returns: "const int*",
      args: ["const mlx_array"],
    });
    expect(small.get("mlx_array_new_data_managed")?.args).toEqual([
      "void*",
      "const int*",
      "int",
      "mlx_dtype",
      "void(*)(void*)",
    ]);
    expect(small.get("mlx_arange")).toMatchObject({
      group: "ops",
      args: ["mlx_array*", "double", "mlx_optional_int", "size_t", "const float"],
    });
  });

  const tables: readonly [string, Tables, string[]][] = [
    ["accepts what agrees", { ops: { mlx_add: add } }, []],
    [
      "accepts every kind of type",
      {
        array: { mlx_array_new_data_managed: { args: ["ptr", "ptr", "i32", "i32", "ptr"], returns: "ptr" } },
        ops: { mlx_arange: { args: ["ptr", "f64", "u64", "u64", "f32"], returns: "i32" } },
      },
      [],
    ],
    ["names a function that is not there", { ops: { mlx_ad: add } }, ["mlx_ad is not in the ABI"]],
    ["names a wrong header", { array: { mlx_add: add } }, ["mlx_add stands under array, in the ABI under ops"]],
    ["names a missing argument", { ops: { mlx_add: unary } }, ["mlx_add has 3 arguments, in the ABI 4"]],
    [
      "names a wrong argument",
      { ops: { mlx_add: { args: ["ptr", "ptr", "i32", "ptr"], returns: "i32" } } },
      ["mlx_add: argument 3 is i32, in the ABI const mlx_array, that is ptr"],
    ],
    [
      "names a wrong result",
      { array: { mlx_array_shape: { args: ["ptr"], returns: "i32" } } },
      ["mlx_array_shape: its result is i32, in the ABI const int*, that is ptr"],
    ],
  ];
  test.each(tables)("of tables %s", (_, planted, problems) => {
    expect(checkTables(planted, small)).toEqual(problems);
  });

  const headers: readonly [string, string, string[]][] = [
    ["accepts other spaces", "/* array.h */\nconst  int *mlx_array_shape( const mlx_array arr );", []],
    ["accepts our own additions", "/* bunsen.h */\nint bunsen_add(mlx_array* res);", []],
    ["names a function that is not there", "/* ops.h */\nint mlx_ad(mlx_array* res);", ["mlx_ad is not in the ABI"]],
    [
      "names a wrong header",
      "/* ops.h */\nmlx_array mlx_array_new(void);",
      ["mlx_array_new stands under ops, in the ABI under array"],
    ],
    [
      "names a wrong type",
      "/* array.h */\nint* mlx_array_shape(const mlx_array arr);",
      ["int* mlx_array_shape(const mlx_array arr) is in the ABI as const int* mlx_array_shape(const mlx_array arr)"],
    ],
  ];
  test.each(headers)("of headers %s", (_, planted, problems) => {
    expect(checkHeader(parseDeclarations(planted), small)).toEqual(problems);
  });

  test("of exports names what is too many and what is missing", () => {
    const declared = parseDeclarations(
      "/* array.h */\nmlx_array mlx_array_new(void);\nint mlx_array_free(mlx_array arr);",
    );
    expect(checkExports(["mlx_array_new", "mlx_array_free"], declared)).toEqual([]);
    expect(checkExports(["mlx_array_new", "_ZN3mlx4core5arrayE"], declared)).toEqual([
      "_ZN3mlx4core5arrayE is exported but not declared",
      "mlx_array_free is declared but not exported",
    ]);
  });
});

function declarationsIn(path: string): Declarations {
  return parseDeclarations(readFileSync(join(ROOT, path), "utf8"));
}

/** nm comes with the compiler that built the library. */
function exportsOf(path: string): string[] {
  const run = Bun.spawnSync(["nm", "-D", "--defined-only", join(ROOT, path)]);
  if (!run.success) throw new Error(`nm cannot read ${path}: ${run.stderr}`);
  const lines = run.stdout.toString().trim().split("\n");
  return lines.map((line) => line.split(" ").at(-1) ?? "");
}
