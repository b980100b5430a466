/** What a custom tool is given: a text, which models write as the one argument of a function. Knows no items. */

import { type Static, Type } from "@sinclair/typebox";
import type { ToolDefinition } from "../core/generation.ts";

const ARGUMENT = "input";

const CUSTOM_PARAMETERS = {
  type: "object",
  properties: { [ARGUMENT]: { type: "string" } },
  required: [ARGUMENT],
  additionalProperties: false,
};

/** The form that a caller says a custom tool's input has. */
export const customGrammar = {
  syntax: Type.Union([Type.Literal("lark"), Type.Literal("regex")]),
  definition: Type.String({ description: "Shown to the model, and not enforced: the tool is to check." }),
};

const grammarBody = Type.Object(customGrammar);

/** The function that a custom tool is to a model. */
export function customDefinition(
  name: string,
  description: string | null,
  grammar: Static<typeof grammarBody> | null,
): ToolDefinition {
  const form = grammar === null ? "" : `The input has this form (${grammar.syntax}):\n${grammar.definition}`;
  const words = [description ?? "", form].filter((text) => text !== "").join("\n\n");
  return { name, description: words === "" ? null : words, parameters: CUSTOM_PARAMETERS, strict: false };
}

export function customArguments(input: string): string {
  return JSON.stringify({ [ARGUMENT]: input });
}

const OPENING = new RegExp(`^\\s*\\{\\s*"${ARGUMENT}"\\s*:\\s*"`);
// A character of JSON's strings that is whole: of an escaped pair both halves.
const WHOLE = /^(?:[^"\\]|\\(?:[^u]|u[dD][89abAB][\da-fA-F]{2}\\u[\da-fA-F]{4}|u(?![dD][89abAB])[\da-fA-F]{4}))+/;

/** Reads the text out of the arguments as they come. */
export class CustomInput {
  /** What has not been told. */
  #unread = "";
  #is_open = false;

  /** What more there is of the text. */
  add(json: string): string {
    this.#unread += json;
    if (!this.#is_open) {
      const [opening] = OPENING.exec(this.#unread) ?? [];
      if (opening === undefined) return "";
      this.#is_open = true;
      this.#unread = this.#unread.slice(opening.length);
    }
    const [whole = ""] = WHOLE.exec(this.#unread) ?? [];
    this.#unread = this.#unread.slice(whole.length);
    return unescaped(whole);
  }

  /** The last of it: arguments of another form are the text themselves. */
  end(): string {
    return this.#is_open ? "" : this.#unread;
  }
}

/** Some models write line ends as they are. */
function unescaped(text: string): string {
  const json = text.replace(/\p{Cc}/gu, (control) => JSON.stringify(control).slice(1, -1));
  return JSON.parse(`"${json}"`);
}
