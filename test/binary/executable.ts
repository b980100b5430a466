/** The compiled executable as a stranger would start it: elsewhere, with an empty home and nothing in the environment. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../root.ts";
import { type Ended, type Home, runToEnd as run, Served } from "../served.ts";

export const EXECUTABLE = join(ROOT, "dist/bunsen");
/** Without it the tests of this folder are skipped; `./compile.sh` makes it. */
export const IS_COMPILED = existsSync(EXECUTABLE);

/** A first start unpacks 130 MB and reads the model. */
export const START_MS_MAX = 60_000;

const command = [EXECUTABLE];

export async function runToEnd(home: Home, words: readonly string[], stdin = "", folder = "/"): Promise<Ended> {
  return await run(words, { command, home: home.path, stdin, folder });
}

export async function startServer(home: Home): Promise<Served> {
  return await Served.start([], { command, home: home.path });
}
