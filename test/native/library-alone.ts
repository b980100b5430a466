/**
 * Run by library.test.ts in a process of its own, because a library has one error handler in a process.
 * Opens the library named first and plays the scene named second; prints what happened as JSON.
 */

import { CString, dlopen, JSCallback, type Pointer, ptr, read } from "bun:ffi";
import { symbols } from "../../src/mlx/symbols.ts";

const [path = "", scene = ""] = process.argv.slice(2);
const { symbols: native } = dlopen(path, {
  ...symbols.array,
  ...symbols.device,
  ...symbols.error,
  ...symbols.ops,
  ...symbols.stream,
  ...symbols.transforms,
  ...symbols.vector,
  // Calls of the ABI that the bridge does not make.
  mlx_gather_mm: { args: ["ptr", "ptr", "ptr", "ptr", "ptr", "bool", "ptr"], returns: "i32" },
  mlx_take_along_axis: { args: ["ptr", "ptr", "ptr", "i32", "ptr"], returns: "i32" },
  mlx_vector_array_get: { args: ["ptr", "ptr", "u64"], returns: "i32" },
});

const UINT32 = 3;
const FLOAT16 = 9;
const FLOAT32 = 10;

type Handle = Pointer | null;

const messages: string[] = [];

/** Keeps the sentences that failed calls report from here on. */
function listen(): void {
  const handler = new JSCallback((message: Pointer) => void messages.push(new CString(message).toString()), {
    args: ["ptr", "ptr"],
    returns: "void",
  });
  native.mlx_set_error_handler(handler.ptr, null, null);
}

function make(values: ArrayLike<number>, shape: readonly number[], dtype = FLOAT32): Handle {
  const data = dtype === FLOAT32 ? Float32Array.from(values) : Uint32Array.from(values);
  return native.mlx_array_new_data(data, Int32Array.from([...shape, 0]), shape.length, dtype) as Handle;
}

/** What the call wrote to an empty out-argument. */
function written(call: (slot: Pointer) => number): { code: number; handle: Handle } {
  const slot = new BigUint64Array(1);
  const code = call(ptr(slot));
  return { code, handle: read.ptr(ptr(slot)) as Pointer };
}

function evaluate(array: Handle): number {
  const vector = native.mlx_vector_array_new_data(BigUint64Array.of(BigInt(array ?? 0)), 1);
  const code = native.mlx_eval(vector);
  native.mlx_vector_array_free(vector);
  return code;
}

function floats(array: Handle): number[] {
  const data = native.mlx_array_data_uint32(array);
  if (data === null) return [];
  return Array.from({ length: Number(native.mlx_array_nbytes(array)) / 4 }, (_, index) => read.f32(data, index * 4));
}

const scenes: Readonly<Record<string, () => unknown>> = {
  "adds two arrays": () => {
    listen();
    const stream = native.mlx_default_cpu_stream_new();
    const sum = written((slot) => native.mlx_add(slot, make([1, 2, 3], [3]), make([10, 20, 30], [3]), stream));
    return { code: sum.code, evaluated: evaluate(sum.handle), values: floats(sum.handle) };
  },

  "writes to an array that is there": () => {
    const stream = native.mlx_default_cpu_stream_new();
    const slot = BigUint64Array.of(BigInt(make([1], [1]) ?? 0));
    const before = slot[0];
    const code = native.mlx_add(ptr(slot), make([5, 6], [2]), make([1, 1], [2]), stream);
    evaluate(read.ptr(ptr(slot)) as Pointer);
    return { code, same_handle: read.u64(ptr(slot)) === before, values: floats(read.ptr(ptr(slot)) as Pointer) };
  },

  "reports what the arguments forbid": () => {
    listen();
    const stream = native.mlx_default_cpu_stream_new();
    const one = make([1], [1]);
    const codes = [
      written((slot) => native.mlx_add(slot, make([1, 2, 3], [3]), make([1, 2], [2]), stream)).code,
      written((slot) => native.mlx_add(slot, one, null, stream)).code,
      written((slot) => native.mlx_add(slot, one, one, null)).code,
      written((slot) => native.mlx_astype(slot, one, 99, stream)).code,
      written((slot) => native.mlx_vector_array_get(slot, native.mlx_vector_array_new_data(null, 0), 0n)).code,
    ];
    return { codes, messages, negative_shape: make([1, 2], [-2]), after: floats(one) };
  },

  "reports what only computing shows": () => {
    listen();
    const stream = native.mlx_default_cpu_stream_new();
    const indices = make([0, 1], [2], UINT32);
    const half = written((slot) => native.mlx_astype(slot, make([1, 2, 3, 4], [2, 1, 2]), FLOAT16, stream)).handle;
    const turned = written((slot) => native.mlx_reshape(slot, half, Int32Array.of(2, 2, 1), 3, stream)).handle;
    const product = written((slot) => native.mlx_gather_mm(slot, half, turned, indices, indices, false, stream));
    const taken = written((slot) => native.mlx_take_along_axis(slot, make([1, 2], [2]), make([0], [1]), 0, stream));
    const codes = [product, taken].map(({ code, handle }) => [code, evaluate(handle)]);
    const sum = written((slot) => native.mlx_add(slot, make([1], [1]), make([2], [1]), stream)).handle;
    return { codes, messages, early: floats(sum), evaluated: evaluate(sum), after: floats(sum) };
  },

  "has no GPU": () => {
    listen();
    return {
      stream: native.mlx_default_gpu_stream_new(),
      code: native.mlx_set_default_device(native.mlx_device_new_type(1, 0)),
      messages,
    };
  },

  "has no handler": () => written((slot) => native.mlx_add(slot, null, null, null)),
};

console.log(JSON.stringify(scenes[scene]?.()));
