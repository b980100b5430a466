/** Runs other programs for set-up, and the one kind of error set-up reports as a sentence. */

import { spawn } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url)).replace(/\/$/, "");

export class SetupError extends Error {
  name = "SetupError";
}

/** Runs a program with its output shown; `act` completes "Cannot …" when it fails. */
export async function runProgram(act, program, words, options = {}) {
  const code = await exitOf(spawn(program, words, { stdio: ["ignore", "inherit", "inherit"], cwd: ROOT, ...options }));
  if (code !== 0) throw new SetupError(`Cannot ${act}: "${program}" ended with ${code}, its reason is above`);
}

/** What a program prints, or null when it is missing or fails. */
export async function outputOf(program, words) {
  const child = spawn(program, words, { stdio: ["ignore", "pipe", "ignore"] });
  let text = "";
  child.stdout.on("data", (data) => {
    text += data;
  });
  return (await exitOf(child)) === 0 ? text.trim() : null;
}

/** pip, without its advice about accounts and newer versions of itself. */
export function runPip(act, words) {
  const quiet = { PIP_ROOT_USER_ACTION: "ignore", PIP_DISABLE_PIP_VERSION_CHECK: "1" };
  return runProgram(act, "python3", ["-m", "pip", ...words], { env: { ...process.env, ...quiet } });
}

export function inRoot(...names) {
  return join(ROOT, ...names);
}

function exitOf(child) {
  return new Promise((resolve) => {
    child.on("error", (error) => resolve(error.code));
    child.on("close", (code, signal) => resolve(code ?? signal));
  });
}
