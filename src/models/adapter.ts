/** A low-rank adapter in memory, read against the projections of one model. Knows no tool's names. */

import { FileBytes } from "../formats/file-bytes.ts";
import { evaluate, type MlxArray } from "../mlx/array.ts";
import { openAdapter } from "./adapter-files.ts";
import { planBytes, plansOf } from "./adapter-plan.ts";
import { readTerms, type Term } from "./adapter-terms.ts";
import type { Adaptable, ExpertTarget, Target } from "./layers.ts";

export interface Adapter extends Disposable {
  readonly bytes_resident: number;
  readonly terms: ReadonlyMap<Target | ExpertTarget, Term>;
}

/** What it takes in memory, from the headers of its files. Throws as `loadAdapter`. */
export function adapterBytes(folder: string, layers: readonly Adaptable[]): number {
  return plansOf(openAdapter(folder), layers).reduce((bytes, plan) => bytes + planBytes(plan), 0);
}

/** Throws a `Failure` that names the folder and what of it does not fit the model's `layers`. */
export function loadAdapter(folder: string, layers: readonly Adaptable[]): Adapter {
  const form = openAdapter(folder);
  const plans = plansOf(form, layers);
  using stack = new DisposableStack();
  using file = new FileBytes(form.path);
  const terms = new Map<Target | ExpertTarget, Term>();
  for (const plan of plans) {
    const own = readTerms(file, form, plan, stack);
    for (const [target, term] of own) terms.set(target, term);
    evaluate(...own.flatMap(([, term]) => arraysOf(term))); // one by one, so that no more than they wait for it
  }
  const arrays = new Set([...terms.values()].flatMap(arraysOf));
  const owned = stack.move();
  return {
    bytes_resident: [...arrays].reduce((bytes, array) => bytes + array.bytes, 0),
    terms,
    [Symbol.dispose]: () => owned.dispose(),
  };
}

function arraysOf({ down, up, stretch }: Term): MlxArray[] {
  return [down, up, ...(stretch === null ? [] : [stretch.factors, stretch.offsets])];
}
