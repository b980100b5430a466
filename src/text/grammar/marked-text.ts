/** Writes text that has to stand as it is, with the marks in it as the tokens they are. Knows no calls and no thoughts. */

import { MARK_BYTE } from "../../core/grammar.ts";
import type { Budget } from "./budget.ts";
import type { GrammarBuilder } from "./builder.ts";
import { ANY_CHARACTER, literal, repeat, sequence } from "./expression.ts";
import { ANY_TEXT, containing, difference, matching, texts, union } from "./language.ts";
import { type Alphabet, bytesTerminal, plainTerminal } from "./terminals.ts";

/** A grammar that is being written, for one vocabulary. */
export interface Writing {
  readonly builder: GrammarBuilder;
  readonly alphabet: Alphabet;
  /** Names of tokens that are never spelled letter by letter. */
  readonly marks: readonly string[];
  readonly budget: Budget;
}

export function literalNode(text: string, { builder, alphabet, marks, budget }: Writing): number {
  const parts: number[] = [];
  for (let rest = text; rest !== ""; ) {
    const { at, mark } = firstMark(rest, marks);
    const plain = rest.slice(0, at);
    if (plain !== "") parts.push(builder.terminal(plainTerminal(texts([plain], budget), alphabet, budget)));
    if (mark !== "") parts.push(builder.terminal(bytesTerminal([MARK_BYTE, ...Buffer.from(mark)], budget)));
    rest = rest.slice(at + mark.length);
  }
  return parts.length === 1 ? (parts[0] ?? 0) : builder.sequence(...parts);
}

/** Any text up to `mark`, which is its end, however it is spelled. */
export function textUntil(mark: string, writing: Writing): number {
  const { builder, alphabet, budget } = writing;
  const anything = repeat(ANY_CHARACTER, 0, null);
  const ending = matching(sequence(anything, literal(mark)), budget);
  const beyond = matching(sequence(anything, literal(mark), repeat(ANY_CHARACTER, 1, null)), budget);
  const spelled = builder.terminal(plainTerminal(difference(ending, beyond, budget), alphabet, budget));
  if (firstMark(mark, writing.marks).mark === "") return spelled;
  const before = builder.terminal(plainTerminal(textWithout([mark], budget), alphabet, budget));
  return builder.choice([builder.sequence(before, literalNode(mark, writing)), spelled]);
}

/** The texts that hold none of `stops`. */
export function textWithout(stops: readonly string[], budget: Budget) {
  const [first, ...others] = stops.map((stop) => containing(literal(stop), budget));
  if (first === undefined) return ANY_TEXT;
  return difference(
    ANY_TEXT,
    others.reduce((all, each) => union(all, each, budget), first),
    budget,
  );
}

/** Of two that begin at one place the longer. */
function firstMark(text: string, marks: readonly string[]): { readonly at: number; readonly mark: string } {
  let best = { at: text.length, mark: "" };
  for (const mark of marks) {
    const at = text.indexOf(mark);
    if (at < 0 || at > best.at || (at === best.at && mark.length < best.mark.length)) continue;
    best = { at, mark };
  }
  return best;
}
