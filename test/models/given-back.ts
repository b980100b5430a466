/** What tests of a file have made of arrays is given back at its end: none is alive, and the finalizer caught none. */

import { afterAll, beforeAll, expect } from "bun:test";
import { arrayCounts } from "../../src/mlx/array.ts";

export function expectAllGivenBack(): void {
  let caught_before = 0;

  beforeAll(() => {
    caught_before = arrayCounts().caught;
  });

  afterAll(async () => {
    for (let turn = 0; turn < 5; turn++) {
      Bun.gc(true);
      await Bun.sleep(1);
    }
    expect(arrayCounts()).toEqual({ alive: 0, caught: caught_before });
  });
}
