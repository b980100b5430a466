/** What the keywords of JSON Schema say of one kind of value each, as shapes. Knows no keyword that combines schemas. */

import { Failure } from "../../core/failure.ts";
import type { Budget } from "./budget.ts";
import { formatExpression, isBeyondExpressions } from "./formats.ts";
import {
  ANY_TEXT,
  containing,
  difference,
  includes,
  intersection,
  isEmpty,
  type Language,
  texts,
  union,
} from "./language.ts";
import { allNumbers, bounded, multiples } from "./numbers.ts";
import { parseRegex, RegexError } from "./regex.ts";
import { isObject, type Json, type JsonObject, type SchemaPart } from "./schema-document.ts";
import {
  ANY_ARRAY,
  ANY_OBJECT,
  ANY_STRING,
  ANY_VALUE,
  type ArrayShape,
  type Containment,
  type ObjectShape,
  type PlainShape,
  type Region,
  type Shape,
  type StringShape,
  type Value,
} from "./shapes.ts";

/** Gives a schema inside another its number: as it is, and as a value. */
export interface Numbers {
  child(part: SchemaPart, ...keys: string[]): Value;
}

// Patterns part the keys into twice as many regions each.
const PATTERNS_MAX = 6;

const NUMERIC = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"];

export class Keywords {
  readonly #numbers: Numbers;
  readonly #budget: Budget;
  readonly #numeric: Language;
  readonly #integral: Language;
  readonly plain: PlainShape;

  constructor(inner: Numbers, budget: Budget) {
    this.#numbers = inner;
    this.#budget = budget;
    this.#numeric = allNumbers().numbers;
    this.#integral = allNumbers().integers;
    this.plain = { kind: "plain", language: union(this.#numeric, texts(["null", "true", "false"], budget), budget) };
  }

  /** Every value that the keywords of the schema's own place let through. */
  shapes(part: SchemaPart, schema: JsonObject): Shape[] {
    const type = schema["type"];
    const types = type === undefined ? null : new Set(Array.isArray(type) ? type : [type]);
    const wants = (kind: string) => types === null || types.has(kind);
    const shapes: Shape[] = [];
    const language = this.#plain(part, schema, types);
    if (!isEmpty(language)) shapes.push({ kind: "plain", language });
    if (wants("string")) shapes.push(this.#string(part, schema));
    if (wants("array")) shapes.push(this.#array(part, schema));
    if (wants("object")) shapes.push(this.#object(part, schema));
    return shapes.filter((shape) => shape.kind === "plain" || shape.max === null || shape.min <= shape.max);
  }

  #plain(part: SchemaPart, schema: JsonObject, types: ReadonlySet<Json> | null): Language {
    const words = ["null", "true", "false"].filter(
      (word) => types === null || types.has(word === "null" ? "null" : "boolean"),
    );
    const numeric = NUMERIC.some((keyword) => schema[keyword] !== undefined);
    if (types === null && !numeric) return this.plain.language;
    const language = texts(words, this.#budget);
    if (types === null || types.has("number"))
      return union(language, this.#number(part, schema, this.#numeric), this.#budget);
    if (types.has("integer")) return union(language, this.#number(part, schema, this.#integral), this.#budget);
    return language;
  }

  #number(part: SchemaPart, schema: JsonObject, all: Language): Language {
    let language = all;
    for (const side of ["min", "max"] as const) {
      const inclusive = `${side}imum`;
      const exclusive = side === "min" ? "exclusiveMinimum" : "exclusiveMaximum";
      const bound = schema[inclusive];
      const beyond = schema[exclusive]; // in draft 4 a flag
      if (typeof bound === "number") {
        const limit = bounded(bound, side, beyond === true, this.#budget);
        if (limit === null) throw refusal(part, inclusive, `${bound} has too many digits to be compared`);
        language = intersection(language, limit, this.#budget);
      }
      if (typeof beyond === "number") {
        const limit = bounded(beyond, side, true, this.#budget);
        if (limit === null) throw refusal(part, exclusive, `${beyond} has too many digits to be compared`);
        language = intersection(language, limit, this.#budget);
      }
    }
    const factor = schema["multipleOf"];
    if (typeof factor !== "number") return language;
    const limit = multiples(factor, this.#budget);
    if (limit === null) throw refusal(part, "multipleOf", `the remainders of ${factor} are too many to be counted`);
    return intersection(language, limit, this.#budget);
  }

  #string(part: SchemaPart, schema: JsonObject): StringShape {
    const { pattern, format } = schema;
    let language = ANY_TEXT;
    if (typeof pattern === "string") language = this.#matching(part, "pattern", pattern);
    if (typeof format === "string" && isBeyondExpressions(format)) {
      throw refusal(part, "format", `"${format}" is not enforced`);
    }
    const expression = typeof format === "string" ? formatExpression(format) : null;
    if (expression !== null) {
      language = intersection(language, containing(parseRegex(expression), this.#budget), this.#budget);
    }
    return { ...ANY_STRING, language, ...bounds(schema, "minLength", "maxLength") };
  }

  #matching(part: SchemaPart, keyword: string, pattern: string): Language {
    try {
      return containing(parseRegex(pattern), this.#budget);
    } catch (error) {
      if (error instanceof RegexError) throw refusal(part, keyword, error.message);
      throw error;
    }
  }

  #array(part: SchemaPart, schema: JsonObject): ArrayShape {
    const { items, prefixItems } = schema;
    const child = (...keys: string[]) => this.#numbers.child(part, ...keys);
    const places = (keyword: string, list: readonly Json[]) => list.map((_, place) => child(keyword, String(place)));
    const tuple = Array.isArray(items) ? places("items", items) : []; // before draft 2020-12
    const prefix = Array.isArray(prefixItems) ? places("prefixItems", prefixItems) : tuple;
    const restKeyword = Array.isArray(items) ? "additionalItems" : "items";
    const rest = schema[restKeyword] === undefined ? ANY_VALUE : child(restKeyword);
    const limits = bounds(schema, "minItems", "maxItems");
    if (schema["uniqueItems"] === true && (limits.max === null || limits.max > 1)) {
      throw refusal(part, "uniqueItems", "only an array of at most one item is known to have no item twice");
    }
    return { ...ANY_ARRAY, prefix, rest, ...limits, contains: this.#contains(part, schema) };
  }

  #contains(part: SchemaPart, schema: JsonObject): Containment[] {
    if (schema["contains"] === undefined) return [];
    const { min, max } = bounds(schema, "minContains", "maxContains");
    return [
      {
        value: this.#numbers.child(part, "contains"),
        min: schema["minContains"] === undefined ? 1 : min,
        max,
      },
    ];
  }

  #object(part: SchemaPart, schema: JsonObject): ObjectShape {
    const { properties, patternProperties, additionalProperties, required } = schema;
    const patterns = isObject(patternProperties) ? Object.keys(patternProperties) : [];
    const is_said = additionalProperties !== undefined;
    const rest = { value: is_said ? this.#numbers.child(part, "additionalProperties") : ANY_VALUE, is_said };
    const { regions, matched } = this.#regions(part, patterns, rest);
    const names = new Map<string, Value>();
    for (const name of isObject(properties) ? Object.keys(properties) : []) {
      names.set(
        name,
        [...this.#numbers.child(part, "properties", name), ...matched(name)].sort((a, b) => a - b),
      );
    }
    const all = Array.isArray(required) ? required.filter((name) => typeof name === "string") : [];
    return {
      ...ANY_OBJECT,
      names,
      regions,
      is_listed: isObject(properties),
      required: new Set(all),
      ...bounds(schema, "minProperties", "maxProperties"),
    };
  }

  /** Keys by which of the patterns they match; what none matches is `rest`. */
  #regions(
    part: SchemaPart,
    patterns: readonly string[],
    rest: Pick<Region, "value" | "is_said">,
  ): { regions: readonly Region[]; matched: (name: string) => Value } {
    if (patterns.length > PATTERNS_MAX) throw refusal(part, "patternProperties", `more than ${PATTERNS_MAX} patterns`);
    let regions: { keys: Language; value: Value; patterns: number }[] = [{ keys: ANY_TEXT, value: [], patterns: 0 }];
    for (const pattern of patterns) {
      const language = this.#matching(part, "patternProperties", pattern);
      const value = this.#numbers.child(part, "patternProperties", pattern);
      regions = regions
        .flatMap((region) => [
          { ...region, keys: difference(region.keys, language, this.#budget) },
          {
            keys: intersection(region.keys, language, this.#budget),
            value: [...region.value, ...value].sort((a, b) => a - b),
            patterns: region.patterns + 1,
          },
        ])
        .filter(({ keys }) => !isEmpty(keys));
    }
    return {
      regions: regions.map(({ keys, value, patterns: count }) => {
        return count === 0 ? { keys, ...rest } : { keys, value, is_said: true };
      }),
      matched: (name) => regions.find(({ keys }) => includes(keys, name))?.value ?? [],
    };
  }
}

/** What the caller is told of a schema that cannot be enforced. */
export function refusal(part: SchemaPart, keyword: string, state: string): Failure {
  const place = part.pointer === "" ? "its root" : part.pointer;
  return new Failure("invalid_request", `Cannot enforce the schema: "${keyword}" at ${place}: ${state}`);
}

function bounds(schema: JsonObject, least: string, most: string): { min: number; max: number | null } {
  const min = schema[least];
  const max = schema[most];
  return {
    min: typeof min === "number" ? Math.ceil(min) : 0,
    max: typeof max === "number" ? Math.floor(max) : null,
  };
}
