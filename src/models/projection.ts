/** A matrix that stands alone: the table of embeddings, the head, or both in one. Knows no family. */

import type { MlxArray } from "../mlx/array.ts";
import { applyLinear, hasExtras, newLayer, takeLinearRows } from "../mlx/extras.ts";
import { embed, formOf, giveUp, type Linear, linear, type NativeLinear, weightsOf } from "./layers.ts";

/** The same as the library keeps it, which reads it faster, where it can; `own` frees that. */
export function inOwnForm(layer: Linear, own: DisposableStack): Linear | NativeLinear {
  if (!hasExtras()) return layer;
  const numbers = [layer.target.columns, ...formOf(layer)];
  const native = own.use(newLayer("linear", { weights: weightsOf(layer), numbers, factors: [] }));
  giveUp(layer);
  return { kind: "native", layer: native, target: layer.target };
}

export interface Projection extends Disposable {
  /** `x` (tokens, columns) to (tokens, rows). */
  apply(x: MlxArray): MlxArray;
  /** Its rows by token, (tokens) to (tokens, columns), in the dtype the model computes in. */
  rows(token_ids: MlxArray): MlxArray;
}

/** In one operation where the library has it, which then keeps the weights in a form of its own; else composed. */
export function projection(layer: Linear, columns: number): Projection {
  if (!hasExtras()) {
    return {
      apply: (x) => linear(x, layer),
      rows: (token_ids) => embed(token_ids, layer),
      [Symbol.dispose]: () => {},
    };
  }
  const native = newLayer("linear", {
    weights: weightsOf(layer),
    numbers: [columns, ...formOf(layer)],
    factors: [],
  });
  giveUp(layer);
  return {
    apply: (x) => applyLinear(native, x),
    rows: (token_ids) => takeLinearRows(native, token_ids),
    [Symbol.dispose]: () => native[Symbol.dispose](),
  };
}
