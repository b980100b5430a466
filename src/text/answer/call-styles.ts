/** How models write calls and their arguments, where a grammar has to write them. Knows no model, and reads nothing. */

import type { CallStyle, FieldStyle } from "../../core/grammar.ts";

export const NAMED_OBJECT = '{"name": "%name%", "arguments": ';

/** Each value between tags; a string as it stands. `stops`: tags that its reader takes for an end. */
function tagged(open: string, close: string, stops: readonly string[]): FieldStyle {
  return { kind: "fields", value: [open, close], text: [open, close], stops, between: "" };
}

/** `key: value` or `key=value`; strings between quotes of their own, or as in JSON. */
export function listed(sign: string, between: string, quote: string | null): FieldStyle {
  const text = quote === null ? null : ([`%key%${sign}${quote}`, quote] as const);
  return { kind: "fields", value: [`%key%${sign}`, ""], text, stops: quote === null ? [] : [quote], between };
}

export const PARAMETERS = tagged("<parameter=%key%>\n", "\n</parameter>\n", [
  "</parameter>",
  "<parameter=",
  "<parameter name=",
  "</function>",
]);
export const SEED_PARAMETERS = tagged("<parameter=%key%>", "</parameter>\n", PARAMETERS.stops);
export const MINIMAX_PARAMETERS = tagged('<parameter name="%key%">', "</parameter>\n", [
  "</parameter>",
  "<parameter=",
  "<parameter name=",
  "</invoke>",
]);
export const ATEM_PARAMETERS = tagged('<atem:parameter name="%key%">', "</atem:parameter>\n", [
  "</atem:parameter>",
  "<atem:parameter=",
  "<atem:parameter name=",
  "</atem:invoke>",
]);
export const PAIRS = tagged("<arg_key>%key%</arg_key>\n<arg_value>", "</arg_value>\n", ["</arg_value>"]);
export const DSML_PARAMETERS: FieldStyle = {
  kind: "fields",
  value: ['<｜DSML｜parameter name="%key%" string="false">', "</｜DSML｜parameter>\n"],
  text: ['<｜DSML｜parameter name="%key%" string="true">', "</｜DSML｜parameter>\n"],
  stops: ["</｜DSML｜parameter>", "<｜DSML｜parameter=", "<｜DSML｜parameter name=", "</｜DSML｜invoke>"],
  between: "",
};

export function writing(parts: Partial<CallStyle>): CallStyle {
  return { begin: "", before: "", arguments: { kind: "json" }, after: "", between: "", end: "", ...parts };
}

/** Objects in a list. */
export function list(begin: string, end: string): CallStyle {
  return writing({ begin, before: NAMED_OBJECT, after: "}", between: ", ", end });
}
