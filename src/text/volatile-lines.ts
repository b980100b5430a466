/**
 * Takes out of system prompts what agents write anew into each request, so that what was read once need not be read
 * again. Pure.
 */

import type { Message } from "../core/generation.ts";
import type { VolatileLines } from "../core/settings.ts";

export interface Steadied {
  readonly messages: readonly Message[];
  /** How many lines are not as they came. */
  readonly lines: number;
}

/** Only what a system says: the words of others stay where they were first read. */
export function steadied(messages: readonly Message[], wanted: VolatileLines): Steadied {
  if (wanted === "keep") return { messages, lines: 0 };
  let lines = 0;
  const steady = messages.flatMap((message): readonly Message[] => {
    if (message.role !== "system") return [message];
    const bare = withoutBilling(message.content);
    const timed = wanted === "times" ? withRoundTimes(bare.text) : { text: bare.text, lines: 0 };
    if (bare.lines + timed.lines === 0) return [message];
    lines += bare.lines + timed.lines;
    return timed.text === "" ? [] : [{ role: message.role, content: timed.text }];
  });
  return lines === 0 ? { messages, lines } : { messages: steady, lines };
}

interface SteadyText {
  readonly text: string;
  readonly lines: number;
}

/**
 * Claude Code's `x-anthropic-billing-header: cc_version=2.1.100.7b4; cc_entrypoint=cli; cch=eb6c6;`, whose last value is new in
 * each request. It is for Anthropic's accounts and not for a model; text has been seen behind it in its line, and stays.
 */
const BILLING =
  /^x-anthropic-billing-header:(?:[ \t]*[\w-]+=[^;\n]*;)+[ \t]*(?:[\w-]+=[\w.-]*[ \t]*(?=\n|$))?\n{0,2}/gm;

function withoutBilling(text: string): SteadyText {
  let lines = 0;
  const bare = text.replace(BILLING, () => {
    lines += 1;
    return "";
  });
  return { text: bare, lines };
}

/** Words before a time that say it is the present one. */
const OF_NOW =
  /\bcurrent[\s_-]*(?:local[\s_-]*)?(?:date|day|time)|\btoday(?:['’]s date| is)\b|\blocal time\b|\bthe (?:date|time)(?: now)? is\b/i;

/** A time of day, and not the offset of a zone from it. */
const TIME = /(?<![\d:.+-])(\d{1,2}):(\d{2}(?::\d{2}(?:[.,]\d+)?)?)(?!:?\d)/g;

/** Minutes and seconds as zeros: what is said stays true to the hour. A line of now may be the one below its heading. */
function withRoundTimes(text: string): SteadyText {
  let count = 0;
  const lines = text.split("\n");
  const round = lines.map((line, index) => {
    const heading = lines[index - 1] ?? "";
    const is_below = OF_NOW.test(heading) && !heading.match(TIME) && /^\W*\d/.test(line);
    if (!OF_NOW.test(line) && !is_below) return line;
    const rounded = line.replace(TIME, (_, hour: string, rest: string) => `${hour}:${rest.replace(/\d/g, "0")}`);
    if (rounded !== line) count += 1;
    return rounded;
  });
  return { text: round.join("\n"), lines: count };
}
