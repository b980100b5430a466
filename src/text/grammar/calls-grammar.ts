/** Writes the grammar of an answer that calls tools: what a model's own style puts around arguments, and their schemas. */

import { Failure } from "../../core/failure.ts";
import type { ArgumentStyle, CallStyle, FieldStyle, Form } from "../../core/grammar.ts";
import { typesIn } from "../answer/tags.ts";
import { jsonNode } from "./json-grammar.ts";
import { intersection, ofLength, texts } from "./language.ts";
import { literalNode, textWithout, type Writing } from "./marked-text.ts";
import { isObject, type Json, type JsonObject } from "./schema-document.ts";
import { SchemaShapes } from "./schema-shapes.ts";
import { plainTerminal } from "./terminals.ts";

type Calls = Extract<Form, { kind: "calls" }>;

export function callsNode({ style, is_parallel, tools }: Calls, writing: Writing): number {
  const { builder } = writing;
  const text = (source: string) => literalNode(source, writing);
  const shapes = tools.map(({ name, schema }) => {
    const named = (source: string) => text(source.replaceAll("%name%", () => JSON.stringify(name).slice(1, -1)));
    return builder.sequence(
      named(style.before),
      argumentsNode(schema as Json, style.arguments, writing),
      named(style.after),
    );
  });
  const call = builder.choice(shapes);
  return builder.sequence(text(style.begin), call, ...moreOf(call, style, is_parallel, writing), text(style.end));
}

function moreOf(call: number, { between }: CallStyle, is_parallel: boolean, writing: Writing): number[] {
  if (between === null || !is_parallel) return [];
  const { builder } = writing;
  return [builder.repeat(builder.sequence(literalNode(between, writing), call), 0, null)];
}

function argumentsNode(schema: Json, style: ArgumentStyle, writing: Writing): number {
  if (style.kind === "json") return jsonNode(schema, writing.builder, writing.alphabet, writing.budget);
  return new Fields(schema, style, writing).write();
}

/** A property of the schema, with what it refers to. */
interface Field {
  readonly key: string;
  readonly schema: JsonObject;
  readonly is_required: boolean;
}

class Fields {
  readonly #style: FieldStyle;
  readonly #writing: Writing;
  readonly #fields: readonly Field[];
  readonly #rests = new Map<string, number>();

  constructor(schema: Json, style: FieldStyle, writing: Writing) {
    this.#style = style;
    this.#writing = writing;
    this.#fields = fieldsOf(schema);
  }

  write(): number {
    return this.#from(0, true);
  }

  /** The fields from a place on; `is_first`: none stands before them. */
  #from(place: number, is_first: boolean): number {
    const { builder } = this.#writing;
    const field = this.#fields[place];
    if (field === undefined) return builder.sequence();
    const key = `${place} ${is_first}`;
    const known = this.#rests.get(key);
    if (known !== undefined) return known;
    const between = is_first ? [] : [literalNode(this.#style.between, this.#writing)];
    const written = builder.sequence(...between, this.#field(field), this.#from(place + 1, false));
    const node = field.is_required ? written : builder.choice([written, this.#from(place + 1, is_first)]);
    this.#rests.set(key, node);
    return node;
  }

  #field({ key, schema }: Field): number {
    const { builder, alphabet, budget } = this.#writing;
    const { text, value } = this.#style;
    const around = ([before, after]: readonly [string, string], node: number) => {
      const open = literalNode(
        before.replaceAll("%key%", () => key),
        this.#writing,
      );
      return builder.sequence(open, node, literalNode(after, this.#writing));
    };
    if (text === null || !isText(schema)) return around(value, jsonNode(schema, builder, alphabet, budget));
    return around(text, this.#bareText(schema));
  }

  /** A string without quotes, or null by its name. */
  #bareText(schema: JsonObject): number {
    const { builder, alphabet, budget } = this.#writing;
    const shapes = new SchemaShapes(schema, budget);
    const fits = textWithout(this.#style.stops, budget);
    const languages = shapes.shapes(shapes.root).flatMap((shape) => {
      if (shape.kind === "string")
        return [intersection(ofLength(shape.language, shape.min, shape.max, budget), fits, budget)];
      return shape.kind === "plain" ? [intersection(shape.language, texts(["null"], budget), budget)] : [];
    });
    return builder.choice(languages.map((language) => builder.terminal(plainTerminal(language, alphabet, budget))));
  }
}

function fieldsOf(schema: Json): readonly Field[] {
  if (!isObject(schema)) return [];
  const { properties, required, $defs = {}, definitions = {} } = schema;
  const needed = Array.isArray(required) ? required : [];
  const own = isObject(properties) ? properties : {};
  const foreign = needed.find((key) => typeof key === "string" && !Object.hasOwn(own, key));
  if (foreign !== undefined) {
    const state = `"${foreign}" is required and not among "properties"`;
    throw new Failure("invalid_request", `Cannot enforce the schema: ${state}`);
  }
  return Object.entries(own).map(([key, property]) => ({
    key,
    schema: isObject(property) ? { $defs, definitions, ...property } : { $defs, definitions, allOf: [property] },
    is_required: needed.includes(key),
  }));
}

/** Where a string may stand, the reader takes what stands there for one. */
function isText(schema: JsonObject): boolean {
  return typesIn(schema).includes("string");
}
