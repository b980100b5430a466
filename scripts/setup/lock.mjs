/** Lets one process of several do something at a time. */

import { lstatSync, lutimesSync, readlinkSync, renameSync, symlinkSync, unlinkSync } from "node:fs";

const BEAT_MS = 2_000;
const LOOK_MS = 200;
/** An owner that has not shown itself for so long is gone, even if a process with its number exists. */
const SILENCE_MS_MAX = 30_000;

/** The lock is a symbolic link to its owner's process id: made in one act, content and all. */
export async function withLock(path, act) {
  await acquire(path);
  const beat = setInterval(() => lutimesSync(path, new Date(), new Date()), BEAT_MS);
  try {
    return await act();
  } finally {
    clearInterval(beat);
    unlinkSync(path);
  }
}

async function acquire(path) {
  let told = false;
  while (!tryAcquire(path)) {
    const owner = ownerOf(path);
    if (owner === null) continue;
    if (isGone(path, owner)) {
      steal(path);
      continue;
    }
    if (!told) console.log(`setup: waiting for another set-up to finish (process ${owner})`);
    told = true;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

function tryAcquire(path) {
  try {
    symlinkSync(String(process.pid), path);
    return true;
  } catch (error) {
    if (error.code === "EEXIST") return false;
    throw error;
  }
}

function ownerOf(path) {
  try {
    return Number(readlinkSync(path));
  } catch {
    return null;
  }
}

function isGone(path, owner) {
  try {
    process.kill(owner, 0);
    return Date.now() - lstatSync(path).mtimeMs > SILENCE_MS_MAX;
  } catch (error) {
    return error.code === "ESRCH" || error.code === "ENOENT";
  }
}

/** By a move, which only one of several waiting processes can make. */
function steal(path) {
  try {
    const aside = `${path}-${process.pid}`;
    renameSync(path, aside);
    unlinkSync(aside);
  } catch (error) {
    if (error.code !== "ENOENT") throw error;
  }
}
