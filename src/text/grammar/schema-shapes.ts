/** What a JSON Schema lets through, as shapes: its combinations are worked out here, one level at a time. Writes no grammar. */

import { assert } from "../../core/assert.ts";
import type { Budget } from "./budget.ts";
import { Keywords, refusal } from "./keywords.ts";
import { ANY_TEXT, difference, isEmpty, NO_TEXT, ofLength, texts, union } from "./language.ts";
import { negations } from "./negation.ts";
import { plainText } from "./numbers.ts";
import { isObject, type Json, type JsonObject, SchemaDocument, type SchemaPart } from "./schema-document.ts";
import {
  ANY_ARRAY,
  ANY_OBJECT,
  ANY_STRING,
  ANY_VALUE,
  meet,
  memberValue,
  type ObjectShape,
  type Shape,
  type Value,
} from "./shapes.ts";

// So many ways to be one value are beyond any schema that a person wrote.
const SHAPES_MAX = 512;
// How deep two alternatives are compared before they are taken to overlap.
const DEPTH_MAX = 4;

/** Their effect is not enforced, and they have one. */
const REFUSED = ["unevaluatedProperties", "unevaluatedItems", "$dynamicRef", "$recursiveRef"];

export class SchemaShapes {
  readonly #document: SchemaDocument;
  readonly #budget: Budget;
  readonly #keywords: Keywords;
  readonly #any: readonly Shape[];
  /** By number, from 1. */
  readonly #parts: SchemaPart[] = [{ schema: false, pointer: "", base: "" }];
  readonly #numbers = new Map<Json, Map<string, number>>();
  readonly #expanded = new Map<number, readonly Shape[]>();
  readonly #expanding = new Set<number>();
  readonly #known = new Map<string, readonly Shape[]>();
  readonly #none: Value;
  readonly root: Value;

  constructor(schema: Json, budget: Budget) {
    this.#document = new SchemaDocument(schema);
    this.#budget = budget;
    this.#none = [this.#number({ schema: false, pointer: "", base: "" })];
    const child = (part: SchemaPart, ...keys: string[]): Value => this.#valueOf(this.#document.child(part, ...keys));
    this.#keywords = new Keywords({ child }, budget);
    this.#any = [this.#keywords.plain, ANY_STRING, ANY_ARRAY, ANY_OBJECT];
    this.root = this.#valueOf(this.#document.root);
  }

  shapes(value: Value): readonly Shape[] {
    const key = value.join();
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    let shapes = this.#any;
    for (const number of value) shapes = this.#meetAll(shapes, this.#signed(number));
    this.#known.set(key, shapes);
    return shapes;
  }

  #signed(number: number): readonly Shape[] {
    const shapes = this.#expand(Math.abs(number));
    return number > 0 ? shapes : this.#negate(shapes, this.#part(-number));
  }

  #part(number: number): SchemaPart {
    const part = this.#parts[number];
    assert(part !== undefined, "a number names a schema");
    return part;
  }

  #valueOf(part: SchemaPart): Value {
    return part.schema === true || (isObject(part.schema) && Object.keys(part.schema).length === 0)
      ? ANY_VALUE
      : [this.#number(part)];
  }

  /** The same place of the document has the same number. */
  #number(part: SchemaPart): number {
    // Equal simple schemas stand in many places; an object is itself wherever it is reached from, but for its base.
    const same = leafText(part.schema) ?? part.schema;
    const places = this.#numbers.get(same) ?? new Map<string, number>();
    this.#numbers.set(same, places);
    const place = part.base;
    const known = places.get(place);
    if (known !== undefined) return known;
    places.set(place, this.#parts.length);
    return this.#parts.push(part) - 1;
  }

  #expand(number: number): readonly Shape[] {
    const known = this.#expanded.get(number);
    if (known !== undefined) return known;
    const part = this.#part(number);
    if (this.#expanding.has(number)) throw refusal(part, "$ref", "it leads back to itself and to no value");
    this.#expanding.add(number);
    this.#budget.spend(20);
    const shapes = this.#expandPart(part);
    this.#expanding.delete(number);
    this.#expanded.set(number, shapes);
    return shapes;
  }

  #expandPart(part: SchemaPart): readonly Shape[] {
    const { schema } = part;
    if (schema === true) return this.#any;
    if (schema === false) return [];
    if (!isObject(schema)) throw refusal(part, "schema", "it is neither an object nor a boolean");
    for (const keyword of REFUSED) {
      if (schema[keyword] !== undefined) throw refusal(part, keyword, "the keyword is not enforced");
    }
    const dialect = schema["$schema"];
    if (typeof dialect === "string" && !dialect.includes("json-schema.org/")) {
      throw refusal(part, "$schema", `the dialect "${dialect}" is not known`);
    }
    let shapes: readonly Shape[] = this.#keywords.shapes(part, schema);
    for (const [keyword, apply] of this.#applicators) {
      const operand = schema[keyword];
      if (operand !== undefined) shapes = this.#meetAll(shapes, apply(part, operand, schema));
    }
    return shapes;
  }

  readonly #applicators: readonly [
    string,
    (part: SchemaPart, operand: Json, schema: JsonObject) => readonly Shape[],
  ][] = [
    ["const", (part, operand) => this.#oneOfValues(part, "const", [operand])],
    ["enum", (part, operand) => this.#oneOfValues(part, "enum", Array.isArray(operand) ? operand : [])],
    ["$ref", (part, operand) => this.#referred(part, String(operand))],
    [
      "allOf",
      (part, operand) =>
        this.#children(part, "allOf", operand).reduce<readonly Shape[]>(
          (shapes, value) => this.#meetAll(shapes, this.shapes(value)),
          this.#any,
        ),
    ],
    ["anyOf", (part, operand) => this.#children(part, "anyOf", operand).flatMap((value) => this.shapes(value))],
    ["oneOf", (part, operand) => this.#oneOf(part, operand)],
    ["not", (part) => this.#negate(this.shapes(this.#child(part, "not")), part)],
    ["if", (part, _, schema) => this.#conditional(part, schema)],
    ["propertyNames", (part) => this.#propertyNames(part)],
    ["dependentRequired", (part, operand) => this.#dependencies(part, "dependentRequired", operand)],
    ["dependentSchemas", (part, operand) => this.#dependencies(part, "dependentSchemas", operand)],
    ["dependencies", (part, operand) => this.#dependencies(part, "dependencies", operand)],
  ];

  #child(part: SchemaPart, ...keys: string[]): Value {
    return this.#valueOf(this.#document.child(part, ...keys));
  }

  #children(part: SchemaPart, keyword: string, operand: Json): Value[] {
    if (!Array.isArray(operand)) throw refusal(part, keyword, "it is no list of schemas");
    return operand.map((_, place) => this.#child(part, keyword, String(place)));
  }

  #referred(part: SchemaPart, reference: string): readonly Shape[] {
    return this.shapes(this.#valueOf(this.#document.resolve(part, reference)));
  }

  #oneOfValues(part: SchemaPart, keyword: string, values: readonly Json[]): readonly Shape[] {
    const plain = values.filter((value) => typeof value !== "string" && (typeof value !== "object" || value === null));
    const words = plain.map((value) => (typeof value === "number" ? plainText(value) : String(value)));
    if (words.includes(null)) throw refusal(part, keyword, "a number in it has too many digits to be written");
    const strings = values.filter((value) => typeof value === "string");
    if (strings.some((text) => !text.isWellFormed())) throw refusal(part, keyword, "a text in it is not well-formed");
    const shapes: Shape[] = [];
    if (words.length > 0) {
      const language = texts(
        words.filter((word) => word !== null),
        this.#budget,
      );
      shapes.push({ kind: "plain", language });
    }
    if (strings.length > 0) shapes.push({ ...ANY_STRING, language: texts(strings, this.#budget) });
    const place = (value: Json): Value => [this.#number({ ...part, schema: constantOf(value) })];
    for (const value of values) {
      if (Array.isArray(value)) {
        shapes.push({ ...ANY_ARRAY, prefix: value.map(place), rest: this.#none, min: value.length, max: value.length });
      } else if (isObject(value)) {
        const names = new Map(Object.entries(value).map(([name, inner]) => [name, place(inner)]));
        const regions = [{ keys: ANY_TEXT, value: this.#none, is_said: true }];
        shapes.push({ ...ANY_OBJECT, names, regions, required: new Set(names.keys()) });
      }
    }
    return shapes;
  }

  /** Each alternative without the values of the others that it may share. */
  #oneOf(part: SchemaPart, operand: Json): readonly Shape[] {
    const values = this.#children(part, "oneOf", operand);
    return values.flatMap((value, place) => {
      let shapes = this.shapes(value);
      for (const [other_place, other] of values.entries()) {
        if (other_place === place || this.#areApart(shapes, this.shapes(other), DEPTH_MAX)) continue;
        shapes = this.#meetAll(shapes, this.#negate(this.shapes(other), part));
      }
      return shapes;
    });
  }

  #conditional(part: SchemaPart, schema: JsonObject): readonly Shape[] {
    const condition = this.shapes(this.#child(part, "if"));
    const branch = (keyword: string) =>
      schema[keyword] === undefined ? this.#any : this.shapes(this.#child(part, keyword));
    if (schema["then"] === undefined && schema["else"] === undefined) return this.#any;
    return [
      ...this.#meetAll(condition, branch("then")),
      ...this.#meetAll(this.#negate(condition, part), branch("else")),
    ];
  }

  #propertyNames(part: SchemaPart): readonly Shape[] {
    let keys = NO_TEXT;
    for (const shape of this.shapes(this.#child(part, "propertyNames"))) {
      if (shape.kind !== "string") continue;
      keys = union(keys, ofLength(shape.language, shape.min, shape.max, this.#budget), this.#budget);
    }
    const others = difference(ANY_TEXT, keys, this.#budget);
    const regions = [
      { keys, value: ANY_VALUE, is_said: false },
      { keys: others, value: this.#none, is_said: true },
    ].filter((region) => !isEmpty(region.keys));
    return [...this.#any.filter(({ kind }) => kind !== "object"), { ...ANY_OBJECT, regions }];
  }

  #dependencies(part: SchemaPart, keyword: string, operand: Json): readonly Shape[] {
    let shapes = this.#any;
    for (const [name, needs] of Object.entries(isObject(operand) ? operand : {})) {
      const without: ObjectShape = { ...ANY_OBJECT, names: new Map([[name, this.#none]]) };
      const required = new Set([name, ...(Array.isArray(needs) ? needs.map(String) : [])]);
      const having: readonly Shape[] = [{ ...ANY_OBJECT, required }];
      const met = Array.isArray(needs) ? having : this.#meetAll(having, this.shapes(this.#child(part, keyword, name)));
      const others = this.#any.filter(({ kind }) => kind !== "object");
      shapes = this.#meetAll(shapes, [...others, without, ...met]);
    }
    return shapes;
  }

  #meetAll(left: readonly Shape[], right: readonly Shape[]): readonly Shape[] {
    const met = left.flatMap((a) => right.flatMap((b) => meet(a, b, this.#budget) ?? []));
    const possible = met.filter((shape) => !this.#isImpossible(shape, DEPTH_MAX));
    this.#budget.spend(met.length > SHAPES_MAX ? Number.POSITIVE_INFINITY : met.length);
    return possible;
  }

  #negate(shapes: readonly Shape[], part: SchemaPart): readonly Shape[] {
    return shapes.reduce<readonly Shape[]>((rest, shape) => {
      const opposite = negations(shape, this.#any, this.#none, this.#budget);
      if (opposite === null) throw refusal(part, "not", "the opposite of such an array or object is not enforced");
      return this.#meetAll(rest, opposite);
    }, this.#any);
  }

  /** Whether no value can be in both, as far as is seen. */
  #areApart(left: readonly Shape[], right: readonly Shape[], depth: number): boolean {
    return left.every((a) =>
      right.every((b) => {
        const shape = meet(a, b, this.#budget);
        return shape === null || this.#isImpossible(shape, depth);
      }),
    );
  }

  #isImpossible(shape: Shape, depth: number): boolean {
    const isNothing = (value: Value) => value.length > 0 && depth > 0 && this.#isNothing(value, depth - 1);
    if (shape.kind === "array") return shape.prefix.slice(0, shape.min).some(isNothing);
    if (shape.kind === "object") return [...shape.required].some((name) => isNothing(memberValue(shape, name)));
    return false;
  }

  /** A value that is being worked out may be something. */
  #isNothing(value: Value, depth: number): boolean {
    if (value.some((number) => this.#expanding.has(Math.abs(number)))) return false;
    const key = value.join();
    if (this.#comparing.has(key)) return false;
    this.#comparing.add(key);
    try {
      return this.shapes(value).every((shape) => this.#isImpossible(shape, depth));
    } finally {
      this.#comparing.delete(key);
    }
  }

  readonly #comparing = new Set<string>();
}

/** Of a schema that holds no other and refers to none. */
function leafText(schema: Json): string | null {
  const is_leaf = isObject(schema) && !("$ref" in schema) && Object.values(schema).every(isPlain);
  return is_leaf ? JSON.stringify(schema) : null;
}

function isPlain(value: Json): boolean {
  return (
    typeof value !== "object" || value === null || (Array.isArray(value) && value.length < 20 && value.every(isPlain))
  );
}

function constantOf(value: Json): Json {
  return { const: value };
}
