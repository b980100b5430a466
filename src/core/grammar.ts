/** What an answer must be: as its caller says it, and compiled to plain data, byte by byte. Knows no tokens. */

/** `parameter`: the field of the request that says it. */
export type Constraint = { readonly parameter: string } & Form;

type Form =
  /** The JSON text of a value that satisfies it. */
  | { readonly kind: "json_schema"; readonly schema: unknown }
  /** A match from beginning to end, in ECMAScript's notation. */
  | { readonly kind: "regex"; readonly expression: string }
  | { readonly kind: "choice"; readonly texts: readonly string[] }
  /** Rules in GBNF, from `root` on. */
  | { readonly kind: "grammar"; readonly source: string }
  /** `begin`, then one of the calls; where `between` is not null, more of them with it between. */
  | {
      readonly kind: "calls";
      readonly begin: string;
      readonly between: string | null;
      readonly calls: readonly CallShape[];
    };

/** How one tool is called: the arguments as JSON, and what stands around them. */
export interface CallShape {
  readonly before: string;
  readonly schema: unknown;
  readonly after: string;
}

/** The bytes of all tokens one after another; `offsets[id] … offsets[id + 1]` is a token's part, empty where it has no text. */
export interface TokenBytes {
  readonly bytes: Uint8Array;
  readonly offsets: Uint32Array;
}

/** A regular language over bytes. State 0 is the start; every state leads to an accepting one. */
export interface Terminal {
  /** Equal terminals have equal keys, in whichever grammar. */
  readonly key: string;
  /** The class of each byte: bytes of one class lead the same way from every state. */
  readonly classes: readonly number[];
  readonly class_count: number;
  /** (state, class) to the next state, or -1. */
  readonly table: readonly number[];
  /** 1 for each state where the text may end. */
  readonly accepting: readonly number[];
  /** The text is `table`'s language over and over, then the byte `close`; null: it is that language once. */
  readonly repeated: { readonly min: number; readonly max: number | null; readonly close: number } | null;
}

/** Nodes name each other by place, so a grammar may be recursive, though never on the left. */
export type GrammarNode =
  | { readonly kind: "terminal"; readonly terminal: number }
  | { readonly kind: "sequence"; readonly parts: readonly number[] }
  | { readonly kind: "choice"; readonly parts: readonly number[] }
  | { readonly kind: "repeat"; readonly part: number; readonly min: number; readonly max: number | null };

export interface CompiledGrammar {
  /** Compiled from the same, it is the same. */
  readonly key: string;
  readonly terminals: readonly Terminal[];
  readonly nodes: readonly GrammarNode[];
  readonly root: number;
}
