/** One choice of an answer: its row's tokens become what may be sent. Knows no thread and no other choice. */

import type {
  DrawnLogprob,
  DrawnReport,
  FinishReason,
  RowStep,
  TokenLogprob,
  TokenReport,
} from "../core/generation.ts";
import { Detokenizer } from "../text/detokenizer.ts";
import type { Vocabulary } from "../text/messages.ts";
import { StopFinder } from "../text/stop.ts";
import { tokenText } from "../text/token-text.ts";

export interface ChoiceStep {
  readonly tokens_drawn: number;
  readonly cached_tokens: number;
  readonly text: string;
  /** Those that begin in the text, when the row tells of them. */
  readonly tokens: readonly DrawnReport[];
  readonly finish: { readonly reason: FinishReason; readonly stop_text: string | null } | null;
}

/** Leaves its row when a stop string is complete. */
export async function* choiceSteps(
  row: AsyncIterable<RowStep>,
  words: Words,
): AsyncGenerator<ChoiceStep, void, undefined> {
  for await (const progress of row) {
    const { text, tokens, found } = words.push(progress);
    const reason = found === null ? progress.finish : "stop";
    const finish = reason === null ? null : { reason, stop_text: found };
    const { token_ids, cached_tokens } = progress;
    yield { tokens_drawn: token_ids.length, cached_tokens, text, tokens, finish };
    if (finish !== null) return;
  }
}

/** `check` sees the whole answer that ended by itself; what was cut by its length or by a stop text is not looked at. */
export async function* checkedSteps(
  steps: AsyncIterable<ChoiceStep>,
  check: (answer: string) => Promise<void>,
): AsyncGenerator<ChoiceStep, void, undefined> {
  let answer = "";
  for await (const step of steps) {
    answer += step.text;
    if (step.finish?.reason === "stop" && step.finish.stop_text === null) await check(answer);
    yield step;
  }
}

/** Tokens to the text that may be sent: whole characters, and nothing from a stop string on. */
export class Words {
  readonly #vocabulary: Vocabulary;
  readonly #detokenizer: Detokenizer;
  readonly #stops: StopFinder;
  #decoded_characters = 0;
  #sent_characters = 0;
  #unsent: DrawnReport[] = [];

  /** `at_start`: the answer begins a text, else it continues one. */
  constructor(vocabulary: Vocabulary, at_start: boolean, stop: readonly string[]) {
    this.#vocabulary = vocabulary;
    this.#detokenizer = new Detokenizer(vocabulary, { at_start });
    this.#stops = new StopFinder(stop);
  }

  push({ token_ids, logprobs, finish }: RowStep): { text: string; tokens: DrawnReport[]; found: string | null } {
    const last = finish !== null;
    const decoded = token_ids.map((id, index) => this.#decode(id, logprobs[index])).join("");
    const checked = this.#stops.push(last ? decoded + this.#detokenizer.flush() : decoded);
    const ends = last && checked.found === null;
    const text = ends ? checked.text + this.#stops.flush() : checked.text;
    this.#sent_characters += charactersIn(text);
    return { text, tokens: this.#begun(ends), found: checked.found };
  }

  #decode(id: number, logprob: DrawnLogprob | undefined): string {
    if (logprob !== undefined) this.#unsent.push(this.#report(logprob));
    const text = this.#detokenizer.push([id]);
    this.#decoded_characters += charactersIn(text);
    return text;
  }

  /** The tokens that begin in what was sent; at the end also those without text. */
  #begun(all: boolean): DrawnReport[] {
    const held = this.#unsent.findIndex(({ text_offset }) => text_offset >= this.#sent_characters);
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

/** As Unicode counts them: most clients do, and no language's own units are the protocol's. */
function charactersIn(text: string): number {
  return Array.from(text).length;
}
