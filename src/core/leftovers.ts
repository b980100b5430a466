/** Folders that bear their process's number while it works on them, and stay behind when it is killed. */

import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";

/** Removes those of processes that are gone; `pattern` finds the number in a name. */
export function removeLeftovers(parent: string, pattern: RegExp): void {
  for (const name of readdirSync(parent)) {
    const pid = Number(pattern.exec(name)?.[1] ?? 0);
    // One with this process's own number is an earlier process's: in a container the same numbers come again and again.
    if (pid === process.pid || (pid > 0 && !isAlive(pid))) rmSync(join(parent, name), { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
