/**
 * Rewrites the text-splitting parts of a tokenizer.json into the forms that the library treats like the original (the
 * Rust `tokenizers`), and refuses by name what has no such form. Encodes nothing.
 */

import type { JsonPart } from "./json-part.ts";

/** A normalizer or pre-tokenizer in the words of the library. */
export interface LibraryPart {
  readonly type: string;
  readonly [field: string]: unknown;
}

export function libraryNormalizer(part: JsonPart | null): LibraryPart | null {
  return part === null ? null : { type: "Sequence", normalizers: rewrite(part, NORMALIZERS, "normalizer") };
}

export function libraryPreTokenizer(part: JsonPart | null): LibraryPart | null {
  return part === null ? null : { type: "Sequence", pretokenizers: rewrite(part, PRE_TOKENIZERS, "pre-tokenizer") };
}

/** Cuts before each run of ▁; exact where no token holds a ▁ after another character, and much faster than one long word. */
export const SPLIT_AT_SPACES: LibraryPart = { type: "Sequence", pretokenizers: [split("▁+[^▁]*")] };

/** The characters of a word as Rust's `regex` sees them; Oniguruma, and so the library's `\w`, adds ² ³ ¹ ¼ ½ ¾. */
export const WORD_CHARACTERS = String.raw`\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\u200C\u200D`;

/** The expression of GPT-2, built into ByteLevel. In the library's own ByteLevel `\s` takes U+FEFF and misses U+0085. */
export const GPT2_EXPRESSION = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`;

const PUNCTUATION = "[\\p{P}!-/:-@\\[-`{-~]";

type Rewrite = (part: JsonPart) => readonly LibraryPart[];

const NORMALIZERS: ReadonlyMap<string, Rewrite> = new Map<string, Rewrite>([
  ["Sequence", (part) => part.parts("normalizers").flatMap((each) => rewrite(each, NORMALIZERS, "normalizer"))],
  ["NFC", (part) => [{ type: part.text("type") }]],
  ["NFD", (part) => [{ type: part.text("type") }]],
  ["NFKC", (part) => [{ type: part.text("type") }]],
  ["NFKD", (part) => [{ type: part.text("type") }]],
  ["Prepend", (part) => [{ type: "Prepend", prepend: part.text("prepend") }]],
  ["Replace", (part) => [replace(patternOf(part), part.text("content"))]],
  ["Lowercase", lowercase],
  ["StripAccents", () => [{ type: "StripAccents" }]],
  ["Strip", stripEnds],
  ["BertNormalizer", bertNormalizer],
]);

const PRE_TOKENIZERS: ReadonlyMap<string, Rewrite> = new Map<string, Rewrite>([
  ["Sequence", (part) => part.parts("pretokenizers").flatMap((each) => rewrite(each, PRE_TOKENIZERS, "pre-tokenizer"))],
  ["ByteLevel", byteLevel],
  ["Metaspace", metaspace],
  ["Split", (part) => splitBy(part, patternOf(part), part.text("behavior"), part.flag("invert", false))],
  ["Punctuation", (part) => splitBy(part, PUNCTUATION, part.textOrNull("behavior") ?? "Isolated", false)],
  // The library counts only 0-9 as digits, the original every number: ½ and ² too.
  ["Digits", (part) => [split(part.flag("individual_digits", false) ? "\\p{N}" : "\\p{N}+")]],
  ["Whitespace", () => [keep(`[${WORD_CHARACTERS}]+|[^${WORD_CHARACTERS}\\s]+`)]],
  ["WhitespaceSplit", () => [keep("\\S+")]],
  ["BertPreTokenizer", () => [keep("\\S+"), split(PUNCTUATION)]],
  ["CharDelimiterSplit", (part) => [drop(escaped(part.text("delimiter")))]],
]);

function rewrite(part: JsonPart, table: ReadonlyMap<string, Rewrite>, kind: string): readonly LibraryPart[] {
  const type = part.text("type");
  const make = table.get(type);
  if (make === undefined) throw part.unsupported(`the ${kind} ${type}`);
  return make(part);
}

/** Each match and each text between matches is a piece. */
function split(expression: string): LibraryPart {
  return { type: "Split", pattern: { Regex: expression }, behavior: "Isolated", invert: false };
}

/** The matches are the pieces; what is between them is dropped. */
function keep(expression: string): LibraryPart {
  return { type: "Split", pattern: { Regex: expression }, behavior: "Removed", invert: true };
}

/** What is between matches are the pieces. `expression` has no groups: the library would keep what they match. */
function drop(expression: string): LibraryPart {
  return { type: "Split", pattern: { Regex: expression }, behavior: "Removed", invert: false };
}

function replace(expression: string, content: string): LibraryPart {
  // The library hands `content` to a JavaScript replacement, where "$" is an escape.
  return { type: "Replace", pattern: { Regex: expression }, content: content.replaceAll("$", "$$$$") };
}

/** The library knows only "Isolated" and "Removed"; the others are expressions of the former, for one-character patterns. */
function splitBy(part: JsonPart, pattern: string, behavior: string, invert: boolean): readonly LibraryPart[] {
  switch (behavior) {
    case "Isolated":
      return [split(pattern)];
    case "Contiguous":
      return [split(`(?:${pattern})+`)];
    case "Removed":
      if (invert) return [keep(pattern)];
      if (hasGroups(pattern)) throw part.unsupported(`a Split that removes matches of an expression with groups`);
      return [drop(pattern)];
    case "MergedWithPrevious":
    case "MergedWithNext": {
      if (invert || !isOneCharacter(pattern)) throw part.unsupported(`${behavior} of other than one character`);
      return [split(behavior === "MergedWithNext" ? `(?=${pattern})` : `(?<=${pattern})`)];
    }
    default:
      throw part.unsupported(`the Split behavior ${behavior}`);
  }
}

function hasGroups(expression: string): boolean {
  return /(?<!\\)\((?!\?)/.test(expression);
}

function isOneCharacter(expression: string): boolean {
  return expression === PUNCTUATION || /^(?:\\?.|\\[pP]\{\w+\}|\[[^[\]]+\])$/su.test(expression);
}

function patternOf(part: JsonPart): string {
  const pattern = part.part("pattern");
  const expression = pattern.textOrNull("Regex");
  return expression === null ? escaped(pattern.text("String")) : withLongS(expression);
}

/** To the original `(?i:'s)` matches 'ſ too; the library folds only A-Z. */
function withLongS(expression: string): string {
  return expression.replace(/\(\?i:[a-z'|]*\)/gi, (group) => group.replaceAll("s", "[sſ]"));
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}

function byteLevel(part: JsonPart): readonly LibraryPart[] {
  // The prefix comes before the expression, so it has to be a part of its own.
  const prefix = part.flag("add_prefix_space", true) ? [replace("\\A(?! )", " ")] : [];
  const expression = part.flag("use_regex", true) ? [split(GPT2_EXPRESSION)] : [];
  return [...prefix, ...expression, { type: "ByteLevel", add_prefix_space: false, use_regex: false }];
}

function metaspace(part: JsonPart): readonly LibraryPart[] {
  const replacement = part.textOrNull("replacement") ?? "▁";
  const older = part.flag("add_prefix_space", true) ? "always" : "never";
  const prepend_scheme = part.textOrNull("prepend_scheme") ?? older;
  const spaces = { type: "Metaspace", replacement, prepend_scheme };
  return part.flag("split", true) ? [spaces, split(`(?=${escaped(replacement)})`)] : [spaces];
}

function lowercase(): readonly LibraryPart[] {
  // JavaScript lowers a final Σ to ς, the original every Σ to σ.
  return [replace("Σ", "σ"), { type: "Lowercase" }];
}

function stripEnds(part: JsonPart): readonly LibraryPart[] {
  const left = part.flag("strip_left", true) ? [replace("\\A\\s+", "")] : [];
  const right = part.flag("strip_right", true) ? [replace("\\s+\\z", "")] : [];
  return [...left, ...right];
}

/** The ranges as the original has them, with its gap at U+2B820. */
const CHINESE =
  "[\\x{4E00}-\\x{9FFF}\\x{3400}-\\x{4DBF}\\x{20000}-\\x{2A6DF}\\x{2A700}-\\x{2B73F}\\x{2B740}-\\x{2B81F}\\x{2B920}-\\x{2CEAF}\\x{F900}-\\x{FAFF}\\x{2F800}-\\x{2FA1F}]";

function bertNormalizer(part: JsonPart): readonly LibraryPart[] {
  const lower = part.flag("lowercase", true);
  const clean = [replace("[\\x00\\x{FFFD}]|(?![\\t\\n\\r])[\\p{Cc}\\p{Cf}\\p{Co}]", ""), replace("\\s", " ")];
  const chinese = { type: "Replace", pattern: { Regex: CHINESE }, content: " $& " };
  const accents = [{ type: "NFD" }, replace("\\p{Mn}", "")];
  return [
    ...(part.flag("clean_text", true) ? clean : []),
    ...(part.flag("handle_chinese_chars", true) ? [chinese] : []),
    ...(part.flag("strip_accents", lower) ? accents : []),
    ...(lower ? lowercase() : []),
  ];
}
