/** What native/build.sh says where it lacks something. */

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { scratchFolder } from "../formats/scratch.ts";
import { ROOT } from "../root.ts";

describe.if(process.platform === "linux")("native/build.sh", () => {
  const folder = scratchFolder();

  test("names a compiler that is missing, and the command that installs one", () => {
    expect(build({ CXX: "c++-of-tomorrow" }, join(ROOT, "build/mlx"))).toEqual({
      exit_code: 1,
      error:
        "native: Cannot build libmlxc.so: there is no C++ compiler c++-of-tomorrow; " +
        "install one with: sudo apt-get install g++\n",
    });
  });

  test("names an MLX folder that is empty, and the command that fills it", () => {
    expect(build({}, folder)).toEqual({
      exit_code: 1,
      error:
        `native: Cannot build libmlxc.so: ${folder} lacks include/mlx or lib/libmlx.so of MLX; ` +
        "fetch them with: npm run setup\n",
    });
  });

  function build(environment: Record<string, string>, mlx_folder: string): { exit_code: number; error: string } {
    const command = [join(ROOT, "native/build.sh"), mlx_folder, join(folder, "out")];
    const run = Bun.spawnSync(command, { env: { PATH: process.env["PATH"], ...environment } });
    return { exit_code: run.exitCode, error: run.stderr.toString() };
  }
});
