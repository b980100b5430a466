/** One choice of an answer: its row's tokens become what may be sent. Knows no thread and no other choice. */

import type {
  DrawnLogprob,
  DrawnReport,
  GenerationEvent,
  Predicted,
  RowStep,
  TokenLogprob,
  TokenReport,
} from "../core/generation.ts";
import { Detokenizer, type DetokenizerOptions } from "../text/detokenizer.ts";
import type { Vocabulary } from "../text/messages.ts";
import { StopFinder } from "../text/stop.ts";
import { tokenText } from "../text/token-text.ts";
import type { AnswerReader, PlacedToken, Reading, Said, Spoken } from "./answer.ts";

export interface ChoiceStep {
  readonly tokens_drawn: number;
  readonly cached_tokens: number;
  readonly predicted?: Predicted;
  /** Of the whole choice, with its finish. */
  readonly reasoning_tokens: number | null;
  readonly said: readonly Said[];
  readonly finish: Omit<Extract<GenerationEvent, { kind: "finish" }>, "kind" | "choice"> | null;
}

/** Leaves its row when a stop string is complete, or the answer has all that it may have. */
export async function* choiceSteps(
  row: AsyncIterable<RowStep>,
  words: Words,
  reader: AnswerReader,
): AsyncGenerator<ChoiceStep, void, undefined> {
  for await (const progress of row) {
    const { token_ids, cached_tokens, predicted } = progress;
    const spoken = words.push(progress);
    const reading = reader.read(spoken, progress.finish !== null || spoken.found !== null);
    const { said, reasoning_tokens } = reading;
    const finish = finishOf(progress, spoken, reading);
    const told = predicted === undefined ? {} : { predicted };
    yield { tokens_drawn: token_ids.length, cached_tokens, ...told, reasoning_tokens, said, finish };
    if (finish !== null) return;
  }
}

function finishOf({ finish }: RowStep, { found }: Spoken, { calls, reports, is_full }: Reading): ChoiceStep["finish"] {
  const ends_itself = is_full || (finish === "stop" && found === null);
  const reason = ends_itself && calls > 0 ? "tool_calls" : found === null ? finish : "stop";
  if (reason === null) return null;
  return { reason, stop_text: found, ...(reports.length === 0 ? {} : { reports }) };
}

/** `check` sees the whole answer that ended by itself; what was cut by its length or by a stop text is not looked at. */
export async function* checkedSteps(
  steps: AsyncIterable<ChoiceStep>,
  check: (answer: CheckedAnswer) => Promise<void>,
): AsyncGenerator<ChoiceStep, void, undefined> {
  const said: Said[] = [];
  for await (const step of steps) {
    said.push(...step.said);
    const ends_itself = step.finish !== null && step.finish.reason !== "length" && step.finish.stop_text === null;
    if (ends_itself) await check(wholeOf(said));
    yield step;
  }
}

export interface CheckedAnswer {
  readonly text: string;
  readonly calls: readonly { readonly name: string; readonly arguments: string }[];
}

/** Tokens to the text that may be sent: whole characters, and nothing from a stop string on. */
export class Words {
  readonly #vocabulary: Vocabulary;
  readonly #detokenizer: Detokenizer;
  readonly #stops: StopFinder;
  #decoded_units = 0;
  #decoded_characters: number;
  #sent_units = 0;
  #unsent: PlacedToken[] = [];

  /** `characters`: what stands before the words in the same text. */
  constructor(vocabulary: Vocabulary, text: DetokenizerOptions, stop: readonly string[], characters: number) {
    this.#decoded_characters = characters;
    this.#vocabulary = vocabulary;
    this.#detokenizer = new Detokenizer(vocabulary, text);
    this.#stops = new StopFinder(stop);
  }

  push({ token_ids, logprobs, finish }: RowStep): Spoken {
    const last = finish !== null;
    const starts: number[] = [];
    const decode = (id: number, index: number) => {
      starts.push(this.#decoded_units);
      return this.#decode(id, logprobs[index]);
    };
    const decoded = token_ids.map(decode).join("");
    const checked = this.#stops.push(last ? decoded + this.#detokenizer.flush() : decoded);
    const ends = last && checked.found === null;
    const text = ends ? checked.text + this.#stops.flush() : checked.text;
    this.#sent_units += text.length;
    return { text, tokens: this.#begun(ends), starts, found: checked.found };
  }

  #decode(id: number, logprob: DrawnLogprob | undefined): string {
    if (logprob !== undefined) this.#unsent.push({ at: this.#decoded_units, report: this.#report(logprob) });
    const text = this.#detokenizer.push([id]);
    this.#decoded_units += text.length;
    this.#decoded_characters += charactersIn(text);
    return text;
  }

  /** The tokens that begin in what was sent; at the end also those without text. */
  #begun(all: boolean): PlacedToken[] {
    const held = this.#unsent.findIndex(({ at }) => at >= this.#sent_units);
    return this.#unsent.splice(0, all || held < 0 ? this.#unsent.length : held);
  }

  #report(drawn: DrawnLogprob): DrawnReport {
    const top = drawn.top.map((each) => this.#tell(each));
    return { ...this.#tell(drawn), text_offset: this.#decoded_characters, top };
  }

  #tell({ token_id, logprob }: TokenLogprob): TokenReport {
    return { ...tokenText(this.#vocabulary, token_id), logprob };
  }
}

function wholeOf(said: readonly Said[]): CheckedAnswer {
  const text = said.map((event) => (event.kind === "text" ? event.text : "")).join("");
  const calls = said.flatMap((call) => {
    if (call.kind !== "call") return [];
    const parts = said.map((event) => (event.kind === "arguments" && event.index === call.index ? event.text : ""));
    return [{ name: call.name, arguments: parts.join("") }];
  });
  return { text, calls };
}

/** As Unicode counts them: most clients do, and no language's own units are the protocol's. */
export function charactersIn(text: string): number {
  return Array.from(text).length;
}
