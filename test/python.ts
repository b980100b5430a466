/** The Python that oracles run in: the packages set-up put into build/python, found nowhere else. */

import { join } from "node:path";
import { ROOT } from "./root.ts";

export const PACKAGES = process.env["BUNSEN_TEST_PYTHON"] ?? join(ROOT, "build/python");

/** Runs a script and gives what it printed; throws with what it complained of. */
export function python(script: string, ...words: readonly string[]): string {
  const run = Bun.spawnSync(["python3", join(ROOT, script), ...words], {
    env: {
      PATH: process.env["PATH"],
      HOME: "/nonexistent",
      PYTHONPATH: PACKAGES,
      HF_HUB_OFFLINE: "1",
      PYTHONDONTWRITEBYTECODE: "1",
    },
  });
  if (run.success) return run.stdout.toString();
  throw new Error(`${script} failed; "npm test" installs what it needs\n${run.stderr.toString()}`);
}
