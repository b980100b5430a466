/** The formats of JSON Schema that are enforced, as expressions. By the standard an unknown format says nothing of a value. */

const DATE = [
  "\\d{4}-(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])",
  "\\d{4}-(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)",
  "\\d{4}-02-(?:0[1-9]|1\\d|2[0-8])",
  "(?:\\d\\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29",
].join("|");
const TIME = "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,9})?(?:Z|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)";
// Without two hyphens in the third and fourth place: such labels stand for other texts that have rules of their own.
const LABEL =
  "(?:[A-Za-z0-9](?:[A-Za-z0-9-]?[A-Za-z0-9])?|[A-Za-z0-9][A-Za-z0-9-](?:[A-Za-z0-9][A-Za-z0-9-]|-[A-Za-z0-9])(?:[A-Za-z0-9-]{0,58}[A-Za-z0-9])?|[A-Za-z0-9][A-Za-z0-9-][A-Za-z0-9]{2})";
const BYTE = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
const IPV4 = `${BYTE}(?:\\.${BYTE}){3}`;
const GROUP = "[0-9A-Fa-f]{1,4}";
const TAIL = `(?:${GROUP}:${GROUP}|${IPV4})`;
const IPV6 = [
  `(?:${GROUP}:){6}${TAIL}`,
  `::(?:${GROUP}:){5}${TAIL}`,
  `(?:${GROUP})?::(?:${GROUP}:){4}${TAIL}`,
  `(?:(?:${GROUP}:){0,1}${GROUP})?::(?:${GROUP}:){3}${TAIL}`,
  `(?:(?:${GROUP}:){0,2}${GROUP})?::(?:${GROUP}:){2}${TAIL}`,
  `(?:(?:${GROUP}:){0,3}${GROUP})?::${GROUP}:${TAIL}`,
  `(?:(?:${GROUP}:){0,4}${GROUP})?::${TAIL}`,
  `(?:(?:${GROUP}:){0,5}${GROUP})?::${GROUP}`,
  `(?:(?:${GROUP}:){0,6}${GROUP})?::`,
].join("|");
const URI_CHARACTER = "(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})";
const FIRST_SEGMENT = URI_CHARACTER.replace(";=:@", ";=@");
const AUTHORITY =
  "(?:(?:[A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2})*@)?(?:[A-Za-z0-9._~-]|%[0-9A-Fa-f]{2})+(?::\\d{1,5})?";
const PATH = `(?:/${URI_CHARACTER}*)*`;
const QUERY = `(?:\\?(?:${URI_CHARACTER}|[/?])*)?(?:#(?:${URI_CHARACTER}|[/?])*)?`;
const URI = `[A-Za-z][A-Za-z0-9+.-]*:(?://${AUTHORITY}${PATH}|/?${URI_CHARACTER}+${PATH})${QUERY}`;
const ATOM = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]";

const POINTER = "(?:/(?:[^~/]|~[01])*)*";

const FORMATS: ReadonlyMap<string, string> = new Map([
  ["date", DATE],
  ["time", TIME],
  ["date-time", `(?:${DATE})T${TIME}`],
  [
    "duration",
    "P(?:\\d+W|(?:\\d+Y(?:\\d+M(?:\\d+D)?)?|\\d+M(?:\\d+D)?|\\d+D)(?:T(?:\\d+H(?:\\d+M(?:\\d+S)?)?|\\d+M(?:\\d+S)?|\\d+S))?|T(?:\\d+H(?:\\d+M(?:\\d+S)?)?|\\d+M(?:\\d+S)?|\\d+S))",
  ],
  ["email", `${ATOM}+(?:\\.${ATOM}+)*@${LABEL}(?:\\.${LABEL})+`],
  ["hostname", `${LABEL}(?:\\.${LABEL}){0,3}`],
  ["ipv4", IPV4],
  ["ipv6", IPV6],
  ["uri", URI],
  [
    "uri-reference",
    `(?:${URI})|(?://${AUTHORITY}${PATH}|(?:/(?:${URI_CHARACTER}+${PATH})?)?|${FIRST_SEGMENT}+${PATH})${QUERY}`,
  ],
  ["uuid", "[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"],
  ["json-pointer", POINTER],
  ["relative-json-pointer", `(?:0|[1-9][0-9]{0,9})(?:#|${POINTER})`],
]);

/** Formats of the standard whose rules no expression holds. */
const BEYOND: ReadonlySet<string> = new Set([
  "idn-email",
  "idn-hostname",
  "iri",
  "iri-reference",
  "uri-template",
  "regex",
]);

export function isBeyondExpressions(format: string): boolean {
  return BEYOND.has(format);
}

export function formatExpression(format: string): string | null {
  const expression = FORMATS.get(format);
  return expression === undefined ? null : `^(?:${expression})$`;
}
