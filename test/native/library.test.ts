/** The native library by itself, in a process of its own. */

import { describe, expect, test } from "bun:test";
import { cpSync } from "node:fs";
import { join } from "node:path";
import { scratchFolder } from "../formats/scratch.ts";
import { ROOT } from "../root.ts";

describe.if(process.platform === "linux")("our library, copied elsewhere, in an empty environment", () => {
  const folder = scratchFolder();
  cpSync(join(ROOT, "build/native"), folder, { recursive: true });

  test("adds two arrays", () => {
    expect(play("adds two arrays")).toEqual({ code: 0, evaluated: 0, values: [11, 22, 33] });
  });

  test("assigns to the array that an out-argument names", () => {
    expect(play("writes to an array that is there")).toEqual({ code: 0, same_handle: true, values: [6, 7] });
  });

  test("gives each error of the arguments to the handler and goes on", () => {
    expect(play("reports what the arguments forbid")).toEqual({
      codes: [1, 1, 1, 1, 1],
      messages: [
        expect.stringMatching(/^\[broadcast_shapes\] Shapes \(3\) and \(2\) cannot be broadcast\. at ops\.cpp:\d+$/),
        expect.stringMatching(/^expected a non-empty mlx_array at ops\.cpp:\d+$/),
        expect.stringMatching(/^expected a non-empty mlx_stream at ops\.cpp:\d+$/),
        expect.stringMatching(/^expected an mlx_dtype, found 99 at ops\.cpp:\d+$/),
        expect.stringMatching(/ at vector\.cpp:\d+$/),
        expect.stringMatching(/^\[array\] Invalid shape \(-2\)\. at array\.cpp:\d+$/),
      ],
      negative_shape: null,
      after: [1],
    });
  });

  test("gives errors that only computing shows to the handler and goes on", () => {
    expect(play("reports what only computing shows")).toEqual({
      codes: [
        [0, 1],
        [0, 1],
      ],
      messages: [
        expect.stringMatching(/^\[GatherMM::eval\] .* at transforms\.cpp:\d+$/),
        expect.stringMatching(/^\[GatherAxis::eval_cpu\] .* at transforms\.cpp:\d+$/),
        expect.stringMatching(/^\[array::data\] The array is not evaluated\. at array\.cpp:\d+$/),
      ],
      early: [],
      evaluated: 0,
      after: [3],
    });
  });

  test("reports that there is no GPU", () => {
    const { stream, code, messages } = play("has no GPU") as { stream: unknown; code: number; messages: string[] };
    expect([stream, code, messages.length]).toEqual([null, 1, 2]);
    expect(messages.join()).toMatch(/gpu.*gpu/is);
  });

  test("prints the error and ends the process when no handler is set", () => {
    const run = start("has no handler");
    expect(run.stdout.toString()).toMatch(/^MLX error: expected a non-empty mlx_\w+ at ops\.cpp:\d+\n$/);
    expect(run.exitCode).toBe(255);
  });

  function play(scene: string): unknown {
    const run = start(scene);
    if (!run.success) throw new Error(`"${scene}" ended with ${run.exitCode ?? run.signalCode}\n${run.stderr}`);
    return JSON.parse(run.stdout.toString());
  }

  function start(scene: string) {
    const script = new URL("./library-alone.ts", import.meta.url).pathname;
    return Bun.spawnSync([process.execPath, script, join(folder, "libmlxc.so"), scene], { cwd: folder, env: {} });
  }
});
