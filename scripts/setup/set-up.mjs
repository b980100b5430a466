/** Runs the steps that are not done yet, one process at a time, and shows how far it is. Knows no step by meaning. */

import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { withLock } from "./lock.mjs";
import { ROOT, SetupError } from "./process.mjs";
import { ORACLES, STEPS } from "./steps.mjs";
import { refuseSystem, requireTools } from "./tools.mjs";

const BUILD = join(ROOT, "build");

/** When all is in place this only looks at files: a start must not wait for it. */
export async function setUp({ oracles }) {
  const steps = oracles ? [...STEPS, ...ORACLES] : STEPS;
  if (pending(steps).length === 0) return;
  mkdirSync(BUILD, { recursive: true });
  await withLock(join(BUILD, "setup.lock"), async () => {
    const todo = pending(steps); // again: another set-up may have done it while this one waited
    if (todo.length === 0) return;
    refuseSystem();
    await requireTools(todo.flatMap((step) => step.tools));
    removeLeftovers();
    const started_ms = Date.now();
    for (const [index, step] of todo.entries()) await runStep(step, `${index + 1}/${todo.length}`);
    console.log(`setup: complete in ${seconds(started_ms)}`);
  });
}

function pending(steps) {
  return steps.filter((step) => !step.isDone());
}

async function runStep(step, count) {
  const started_ms = Date.now();
  console.log(`setup ${count}: ${step.title}`);
  // A name of its own each time: what a killed set-up's children still write cannot end up in this one.
  const scratch = join(BUILD, `setup-${process.pid}-${started_ms}`);
  mkdirSync(scratch);
  try {
    await step.run(scratch);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  if (!step.isDone()) throw new SetupError(`Cannot finish "${step.title}": its result is not there afterwards`);
  console.log(`setup ${count}: done in ${seconds(started_ms)}`);
}

/** The scratch folders of set-ups that were killed. */
function removeLeftovers() {
  if (!existsSync(BUILD)) return;
  for (const name of readdirSync(BUILD)) {
    if (/^setup-\d+-\d+$/.test(name)) rmSync(join(BUILD, name), { recursive: true, force: true, maxRetries: 3 });
  }
}

function seconds(since_ms) {
  return `${((Date.now() - since_ms) / 1000).toFixed(1)} s`;
}
