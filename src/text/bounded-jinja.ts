/** Runs a parsed chat template within bounds that one meant well never meets. Knows no messages. */

import { Interpreter, type parse } from "@huggingface/jinja";
import { checkLength, type Node, walk } from "./jinja-repairs.ts";

type Value = ReturnType<Interpreter["evaluate"]>;

export class BoundedInterpreter extends Interpreter {
  readonly #watched: Watched;
  readonly #steps_max: number;
  #steps = 0;
  #depth = 0;

  constructor(environment: Interpreter["global"], watched: Watched, steps_max: number) {
    super(environment);
    this.#steps_max = steps_max;
    this.#watched = watched;
  }

  override evaluate(...[node, environment]: Parameters<Interpreter["evaluate"]>): Value {
    if (this.#depth >= DEPTH_MAX) throw new Error(`more than ${DEPTH_MAX} levels`);
    this.#charge(1);
    this.#depth += 1;
    try {
      const value = super.evaluate(node, environment);
      this.#charge(this.#costOf(node, value));
      if (this.#watched.widths.has(node)) checkWidth(value);
      return value;
    } finally {
      this.#depth -= 1;
    }
  }

  #costOf(node: unknown, { value }: Value): number {
    if (typeof value === "string") {
      checkLength(value.length);
      return this.#watched.copies.has(node) ? value.length / UNITS_PER_STEP : 0;
    }
    if (!Array.isArray(value)) return 0;
    if (value.length > LIST_LENGTH_MAX) throw new Error(`a list of ${value.length} items, at most ${LIST_LENGTH_MAX}`);
    return this.#watched.iterables.has(node) ? value.length * STEPS_PER_ROUND : value.length / ITEMS_PER_STEP;
  }

  #charge(steps: number): void {
    this.#steps += steps;
    if (this.#steps > this.#steps_max) throw new Error(`it takes more than ${this.#steps_max} steps`);
  }
}

/** Nodes of a program. */
export interface Watched {
  /** What a text grows by many times: of each line, or between any two items. */
  readonly widths: ReadonlySet<unknown>;
  /** What is gone through item by item. */
  readonly iterables: ReadonlySet<unknown>;
  /** A text from them is made anew; elsewhere it is there already, or is joined without a copy. */
  readonly copies: ReadonlySet<unknown>;
}

export function watchedIn(program: ReturnType<typeof parse>): Watched {
  const widths = new Set<unknown>();
  const iterables = new Set<unknown>();
  const copies = new Set<unknown>();
  walk(program, (node) => {
    if (node.type === "For") iterables.add(node["iterable"]);
    if (COPYING.has(node.type)) copies.add(node);
    for (const each of wideningArguments(node["filter"])) widths.add(each);
  });
  return { widths, iterables, copies };
}

function wideningArguments(filter: unknown): readonly unknown[] {
  const { callee, args = [] } = (filter ?? {}) as { callee?: Node; args?: readonly Node[] };
  if (!WIDENING.has(String(callee?.["value"]))) return [];
  return args.map((each) => {
    // A keyword's is its value, a spread one's its argument.
    if (each.type === "KeywordArgumentExpression") return each["value"];
    return each.type.includes("Spread") ? each["argument"] : each;
  });
}

/** Of nodes in nodes and macros in macros, well within a thread's stack. */
const DEPTH_MAX = 1000;
const LIST_LENGTH_MAX = 2 ** 20;
/** What is copied in about the time of a step. */
const UNITS_PER_STEP = 32;
const ITEMS_PER_STEP = 16;
/** A round of a loop has a scope of its own. */
const STEPS_PER_ROUND = 2;
const COPYING: ReadonlySet<string> = new Set(["CallExpression", "FilterExpression"]);
const WIDENING: ReadonlySet<string> = new Set(["indent", "join", "map", "tojson"]);
/** Of an indentation or a separator. */
const WIDTH_MAX = 64;

function checkWidth({ value }: Value): void {
  if (Array.isArray(value)) value.forEach(checkWidth);
  if (value instanceof Map) [...value.values()].forEach(checkWidth);
  const width = typeof value === "string" ? value.length : value;
  if (typeof width === "number" && width > WIDTH_MAX) {
    throw new Error(`a separator or an indentation of ${width} characters, at most ${WIDTH_MAX}`);
  }
}
