/** Writes the grammar of the JSON texts that a schema lets through: names in the schema's order, then other keys. */

import { Failure } from "../../core/failure.ts";
import type { Budget } from "./budget.ts";
import type { GrammarBuilder } from "./builder.ts";
import { ANY_TEXT, difference, isEmpty, type Language, matching, ofLength, texts } from "./language.ts";
import { parseRegex } from "./regex.ts";
import type { Json } from "./schema-document.ts";
import { SchemaShapes } from "./schema-shapes.ts";
import {
  type ArrayShape,
  both,
  memberValue,
  type ObjectShape,
  type Shape,
  type StringShape,
  type Value,
  valueAt,
} from "./shapes.ts";
import { type Alphabet, characterTerminal, plainTerminal, stringTerminal } from "./terminals.ts";

/** A value's text. */
export function jsonNode(schema: Json, builder: GrammarBuilder, alphabet: Alphabet, budget: Budget): number {
  return new JsonGrammar(schema, builder, alphabet, budget).write();
}

/** Between the parts of a text there may be one space, or a new line and its indentation. */
const SPACE = "(?: |\\n {0,24}|\\n\\t{0,6})?";
const QUOTE = 0x22;

class JsonGrammar {
  readonly #shapes: SchemaShapes;
  readonly #builder: GrammarBuilder;
  readonly #alphabet: Alphabet;
  readonly #budget: Budget;
  readonly #values = new Map<string, number>();
  readonly #quoted = new Map<Language, number>();
  readonly #marks: { readonly [Mark in "[" | "]" | "{" | "}" | "," | ":" | '"']: number };

  constructor(schema: Json, builder: GrammarBuilder, alphabet: Alphabet, budget: Budget) {
    this.#shapes = new SchemaShapes(schema, budget);
    this.#builder = builder;
    this.#alphabet = alphabet;
    this.#budget = budget;
    const mark = (expression: string) => this.#plain(matching(parseRegex(expression), budget));
    this.#marks = {
      "[": mark(`\\[${SPACE}`),
      "]": mark(`${SPACE}\\]`),
      "{": mark(`\\{${SPACE}`),
      "}": mark(`${SPACE}\\}`),
      ",": mark(`,${SPACE}`),
      ":": mark(": ?"),
      '"': mark('"'),
    };
  }

  write(): number {
    return this.#value(this.#shapes.root);
  }

  #value(value: Value): number {
    const key = value.join();
    const known = this.#values.get(key);
    if (known !== undefined) return known;
    const node = this.#builder.reserve();
    this.#values.set(key, node);
    const parts = this.#shapes.shapes(value).map((shape) => this.#shape(shape));
    this.#builder.define(node, { kind: "choice", parts });
    return node;
  }

  #shape(shape: Shape): number {
    switch (shape.kind) {
      case "plain":
        return this.#plain(shape.language);
      case "string":
        return this.#string(shape);
      case "array":
        return this.#builder.sequence(this.#marks["["], this.#items(shape), this.#marks["]"]);
      case "object":
        return this.#builder.sequence(this.#marks["{"], this.#members(shape));
    }
  }

  #plain(language: Language): number {
    return this.#builder.terminal(plainTerminal(language, this.#alphabet, this.#budget));
  }

  /** Only texts of any characters are counted while they are written: an expression's are counted in its states. */
  #string({ language, min, max }: StringShape): number {
    if (language !== ANY_TEXT || (min === 0 && max === null)) {
      return this.#quotedText(ofLength(language, min, max, this.#budget));
    }
    const character = characterTerminal(this.#alphabet, this.#budget);
    const repeated = { min, max, close: QUOTE };
    return this.#builder.sequence(
      this.#marks['"'],
      this.#builder.terminal(character === null ? null : { ...character, repeated }),
    );
  }

  #quotedText(language: Language): number {
    const known = this.#quoted.get(language);
    if (known !== undefined) return known;
    const text = this.#builder.terminal(stringTerminal(language, this.#alphabet, this.#budget));
    const node = this.#builder.sequence(this.#marks['"'], text);
    this.#quoted.set(language, node);
    return node;
  }

  #items(shape: ArrayShape): number {
    const { max, contains } = shape;
    const [containment] = contains;
    if (contains.length > 1) throw new Failure("invalid_request", MANY_CONTAINMENTS);
    // So many places differ from one another; after them only what an item must be counts.
    const places_max = max ?? Math.max(shape.prefix.length, shape.min, 1);
    const states = new Map<string, number>();
    const after = (place: number, contained: number): number => {
      const key = `${place} ${contained}`;
      const known = states.get(key);
      if (known !== undefined) return known;
      const node = this.#builder.reserve();
      states.set(key, node);
      const ends = place >= shape.min && contained >= (containment?.min ?? 0);
      const separator = place === 0 ? [] : [this.#marks[","]];
      const items = max === null || place < max ? this.#itemsAt(shape, place, contained) : [];
      const parts = items.map((item) => {
        const next = after(Math.min(place + 1, places_max), item.contained);
        return this.#builder.sequence(...separator, item.node, next);
      });
      this.#builder.define(node, { kind: "choice", parts: ends ? [this.#builder.sequence(), ...parts] : parts });
      return node;
    };
    return contains.length === 0 && shape.prefix.length <= 1 ? this.#evenItems(shape) : after(0, 0);
  }

  /** Items that are all alike but for the first. */
  #evenItems(shape: ArrayShape): number {
    const { min, max, rest } = shape;
    const empty = min === 0 ? [this.#builder.sequence()] : [];
    if (max === 0) return this.#builder.choice(empty);
    const next = this.#builder.sequence(this.#marks[","], this.#value(rest));
    const others = this.#builder.repeat(next, Math.max(0, min - 1), max === null ? null : max - 1);
    return this.#builder.choice([...empty, this.#builder.sequence(this.#value(valueAt(shape, 0)), others)]);
  }

  /** What may stand at a place, and how many items are then known to be contained ones. */
  #itemsAt(shape: ArrayShape, place: number, contained: number): { node: number; contained: number }[] {
    const value = valueAt(shape, place);
    const [containment] = shape.contains;
    if (containment === undefined) return [{ node: this.#value(value), contained }];
    const { min, max } = containment;
    const inside = this.#value(both(value, containment.value));
    if (max === null) {
      if (contained >= min) return [{ node: this.#value(value), contained }];
      return [
        { node: inside, contained: contained + 1 },
        { node: this.#value(value), contained },
      ];
    }
    const others = containment.value.map((schema) => this.#value(both(value, [-schema])));
    const outside = others.map((node) => ({ node, contained }));
    return contained < max ? [{ node: inside, contained: contained + 1 }, ...outside] : outside;
  }

  /** From behind the opening brace to the closing one. */
  #members(shape: ObjectShape): number {
    const { required, min, max } = shape;
    const names = [...new Set([...shape.names.keys(), ...required])];
    const last_required = names.findLastIndex((name) => required.has(name));
    const others = this.#otherMembers(shape, names);
    // Another key may come twice, and is one then: of them the first counts, but where there may not be too many.
    const sure = max === null ? names.length : required.size;
    if (others.length > 0 && min > sure + 1) throw new Failure("invalid_request", MANY_PROPERTIES);
    const count = (members: number) => (max === null ? Math.min(members, min) : members);
    const counts = min > required.size || max !== null;
    const states = new Map<string, number>();
    /** `comma`: whether it has to come first, and so may be the end instead. */
    const members = (comma: boolean, place: number, written: number): number => {
      const key = `${comma} ${place} ${written}`;
      const known = states.get(key);
      if (known !== undefined) return known;
      const node = this.#builder.reserve();
      states.set(key, node);
      this.#builder.define(node, {
        kind: "choice",
        parts: comma ? afterMember(place, written) : member(place, written),
      });
      return node;
    };
    const afterMember = (place: number, written: number): number[] => {
      const ends = place > last_required && (!counts || written >= min);
      const goes_on = max === null || written < max;
      return [
        ...(ends ? [this.#marks["}"]] : []),
        ...(goes_on ? [this.#builder.sequence(this.#marks[","], members(false, place, written))] : []),
      ];
    };
    const member = (place: number, written: number): number[] => {
      const after = counts ? count(written + 1) : 0;
      const name = names[place];
      if (name === undefined) {
        const is_counted = place === names.length || max !== null;
        const next = members(true, names.length + 1, is_counted ? after : written);
        return others.map((other) => this.#builder.sequence(other, next));
      }
      const own = this.#member(texts([name], this.#budget), memberValue(shape, name));
      const written_now = this.#builder.sequence(own, members(true, place + 1, after));
      return required.has(name) ? [written_now] : [written_now, members(false, place + 1, written)];
    };
    const empty = required.size === 0 && min === 0 ? [this.#marks["}"]] : [];
    return this.#builder.choice(max === 0 ? empty : [...empty, members(false, 0, 0)]);
  }

  /** A list of names says what is wanted: keys that the schema lets through without a word are written where it takes more. */
  #otherMembers(shape: ObjectShape, names: readonly string[]): number[] {
    const { regions, is_listed, min } = shape;
    const possible = names.filter((name) => this.#shapes.shapes(memberValue(shape, name)).length > 0);
    const is_list = is_listed && (possible.length > 0 || names.length === 0); // not of names that are forbidden
    const is_enough = is_list && min <= possible.length;
    return regions.flatMap(({ keys, value, is_said }) => {
      if (is_enough && !is_said) return [];
      const others = names.length === 0 ? keys : difference(keys, texts(names, this.#budget), this.#budget);
      if (isEmpty(others) || this.#shapes.shapes(value).length === 0) return [];
      return [this.#member(others, value)];
    });
  }

  #member(keys: Language, value: Value): number {
    return this.#builder.sequence(this.#quotedText(keys), this.#marks[":"], this.#value(value));
  }
}

const MANY_CONTAINMENTS = 'Cannot enforce the schema: "contains" holds of one array more than once';
const MANY_PROPERTIES =
  'Cannot enforce the schema: "minProperties" asks for two or more keys that are not named, and they may be the same';
