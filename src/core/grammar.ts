/** What an answer must be: as its caller says it, and compiled to plain data, byte by byte. Knows no tokens. */

/** `parameter`: the field of the request that says it. */
export type Constraint = { readonly parameter: string } & Form;

export type Form =
  /** The JSON text of a value that satisfies it. */
  | { readonly kind: "json_schema"; readonly schema: unknown }
  /** A match from beginning to end, in ECMAScript's notation. */
  | { readonly kind: "regex"; readonly expression: string }
  | { readonly kind: "choice"; readonly texts: readonly string[] }
  /** Rules in GBNF, from `root` on. */
  | { readonly kind: "grammar"; readonly source: string }
  /** One call, or more of them one after another. */
  | {
      readonly kind: "calls";
      readonly style: CallStyle;
      readonly is_parallel: boolean;
      readonly tools: readonly { readonly name: string; readonly schema: unknown }[];
    }
  /** Any one of the forms. */
  | { readonly kind: "either"; readonly forms: readonly Form[] }
  | { readonly kind: "within"; readonly open: string; readonly form: Form; readonly close: string }
  /** A thought may come first; where `is_open` the prompt has begun it, and it does come. */
  | { readonly kind: "after_thought"; readonly thought: ThoughtForm; readonly form: Form };

/** What stands around a thought, and between it and the rest of the answer. */
export interface ThoughtForm {
  readonly open: string;
  readonly close: string;
  readonly is_open: boolean;
  /** Empty: only white space. */
  readonly behind: string;
}

/** A thought that is ended for its model. */
export interface ThoughtBound extends Omit<ThoughtForm, "behind"> {
  readonly tokens_max: number;
  /** What is written then. */
  readonly end_ids: readonly number[];
}

/** How a family of models writes calls. `%name%` and `%key%` stand for the names of a tool and of an argument. */
export interface CallStyle {
  readonly begin: string;
  readonly before: string;
  readonly arguments: ArgumentStyle;
  readonly after: string;
  /** null: an answer has one call. */
  readonly between: string | null;
  readonly end: string;
}

export type ArgumentStyle =
  /** An object. */
  { readonly kind: "json" } | FieldStyle;

/** One after another in the schema's order, each between two texts. */
export interface FieldStyle {
  readonly kind: "fields";
  readonly value: readonly [before: string, after: string];
  /** Around a string that stands there as it is; null: strings are JSON as other values are. */
  readonly text: readonly [before: string, after: string] | null;
  /** What such a string does not hold. */
  readonly stops: readonly string[];
  readonly between: string;
}

/** Stands in no text: behind it a grammar has the name of a token that is a mark, and not the text of that name. */
export const MARK_BYTE = 0xff;

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
