/** Texts that tokenizers have stumbled over, at random. */

import { integer, seeded } from "../random.ts";

const PIECES = [
  ..."hello world| the|'s|'LL|'ſ|  |   |\n|\n\n|\r\n|\t| a|½|²|123|42| 7|٣|é|e\u0301|日本|漢字かな|▁|▁▁|🥰|👩‍👩‍👧|!!|...".split(
    "|",
  ),
  ..." ?|(x)|Σ|ΑΣ|İ|ﬀ|K|_|-|$1|$&|<|>|｜|don't|CamelCase|don’t|Ω|\u0000|\u200d|\u0085|\ufeff|\u00a0|\u3000|\u2028".split(
    "|",
  ),
];

export class RandomText {
  readonly #random: () => number;
  readonly #pieces: readonly string[];

  /** `more`: pieces that matter to one tokenizer, such as the spelling of its special tokens. */
  constructor(seed: number, more: readonly string[] = []) {
    this.#random = seeded(seed);
    this.#pieces = [...PIECES, ...more];
  }

  integer(low: number, high: number): number {
    return integer(this.#random, low, high);
  }

  pick<Item>(items: readonly Item[]): Item {
    const item = items[this.integer(0, items.length - 1)];
    if (item === undefined) throw new Error("nothing to pick from");
    return item;
  }

  text(pieces_max = 12): string {
    return Array.from({ length: this.integer(1, pieces_max) }, () => this.#piece()).join("");
  }

  texts(count: number, pieces_max = 12): string[] {
    return Array.from({ length: count }, () => this.text(pieces_max));
  }

  #piece(): string {
    const kind = this.integer(0, 9);
    if (kind < 6) return this.pick(this.#pieces);
    if (kind < 8) return String.fromCharCode(this.integer(32, 126));
    const [first, last] = this.pick(BLOCKS);
    return String.fromCodePoint(this.integer(first, last));
  }
}

/** Blocks that have not changed for long: two versions of Unicode see newer characters differently. */
const BLOCKS: readonly (readonly [number, number])[] = [
  [0x1, 0x24f],
  [0x300, 0x36f],
  [0x391, 0x3a1],
  [0x3a3, 0x3ff],
  [0x400, 0x52f],
  [0x5d0, 0x5ea],
  [0x621, 0x669],
  [0x905, 0x97f],
  [0xe01, 0xe3a],
  [0x1100, 0x11ff],
  [0x1e00, 0x1eff],
  [0x2000, 0x2064],
  [0x20a0, 0x20bf],
  [0x2100, 0x218b],
  [0x2190, 0x23ff],
  [0x2460, 0x27bf],
  [0x3000, 0x303f],
  [0x3041, 0x3096],
  [0x4e00, 0x9fa5],
  [0xac00, 0xd7a3],
  [0xe000, 0xf8ff],
  [0xfb00, 0xfb06],
  [0xfe00, 0xfe0f],
  [0xff01, 0xff5e],
  [0x10000, 0x1000b],
  [0x1d400, 0x1d454],
  [0x1f300, 0x1f64f],
  [0x20000, 0x2a6d6],
  [0xf0000, 0xf00ff],
];

/** A new seed each time, printed so that a failure can be repeated with BUNSEN_TEST_SEED. */
export function testSeed(what: string): number {
  const seed = Number(process.env["BUNSEN_TEST_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
  console.log(`${what}: seed ${seed}`);
  return seed;
}
