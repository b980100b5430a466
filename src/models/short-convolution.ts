/** What LFM2 has in place of attention: a short convolution between two gates, with its norm and residual. Knows no family. */

import type { MlxArray } from "../mlx/array.ts";
import { add, multiply, slice } from "../mlx/ops.ts";
import { adapted } from "./adapted.ts";
import type { Attention } from "./attention.ts";
import { type Convolution, convolve } from "./convolution.ts";
import { type Linear, type Norm, normalize } from "./layers.ts";
import { inOwnForm } from "./projection.ts";

export interface ShortConvolutionParts {
  readonly norm: Norm;
  /** Gives the gate before the convolution, the one after it, and what goes through: (3 · hidden). */
  readonly into: Linear;
  readonly convolution: Convolution;
  readonly out: Linear;
}

export function shortConvolution({ norm, convolution, ...parts }: ShortConvolutionParts): Attention {
  using own = new DisposableStack();
  const into = inOwnForm(parts.into, own);
  const out = inOwnForm(parts.out, own);
  const owned = own.move();
  return {
    adaptable: [into, out],
    apply(x, step, residual = x) {
      using normed = normalize(x, norm);
      using projected = adapted(normed, into, step);
      using before = third(projected, 0);
      using after = third(projected, 1);
      using through = third(projected, 2);
      using given = multiply(before, through);
      using convolved = convolve(given, convolution, step);
      using passed = multiply(after, convolved);
      using projected_out = adapted(passed, out, step);
      return add(residual, projected_out);
    },
    [Symbol.dispose]: () => owned.dispose(),
  };
}

function third(x: MlxArray, number: number): MlxArray {
  const [tokens = 0, columns = 0] = x.shape;
  const width = columns / 3;
  return slice(x, [0, number * width], [tokens, (number + 1) * width]);
}
