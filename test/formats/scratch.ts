/** A folder that a test file may fill; removed when its tests have ended. */

import { afterAll, expect } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Failure } from "../../src/core/failure.ts";

export function scratchFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "bunsen-test-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Writes a file, making the folders on the way. */
export function write(path: string, content: string | Uint8Array): string {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  return path;
}

/** The `Failure` that `act` throws; anything else thrown, or nothing, fails the test. */
export function failureOf(act: () => unknown): Failure {
  try {
    act();
  } catch (error) {
    if (error instanceof Failure) {
      // One sentence, short enough to read, whatever a file claims.
      expect(error.message).toMatch(/^Cannot [^\n]{1,1000}[^.\n]$/);
      return error;
    }
    throw error;
  }
  throw new Error("nothing was thrown");
}
