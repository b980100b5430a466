/** The prompt before its answer, with how likely its tokens were. Knows no row but its steps. */

import type { DrawnLogprob, DrawnReport, RowStep } from "../core/generation.ts";
import { Detokenizer } from "../text/detokenizer.ts";
import type { Vocabulary } from "../text/messages.ts";
import { tokenText } from "../text/token-text.ts";
import { type ChoiceStep, charactersIn } from "./choice.ts";

/** Takes what rows tell of the prompt from their steps: it is said when the answer begins. */
export class PromptScores {
  readonly #logprobs: DrawnLogprob[] = [];

  async *keep(row: AsyncIterable<RowStep>): AsyncGenerator<RowStep, void, undefined> {
    for await (const step of row) {
      this.#logprobs.push(...(step.prompt_logprobs ?? []));
      if (step.token_ids.length > 0 || step.finish !== null) yield step;
    }
  }

  /** The first token has nothing before it that it could follow from. */
  reports(prompt_ids: readonly number[], vocabulary: Vocabulary): DrawnReport[] {
    const words = new Detokenizer(vocabulary, { at_start: true });
    let text_offset = 0;
    return prompt_ids.map((id, place) => {
      const told = this.#logprobs[place - 1];
      const top = (told?.top ?? []).map(({ token_id, logprob }) => ({ ...tokenText(vocabulary, token_id), logprob }));
      const report = { ...tokenText(vocabulary, id), logprob: told?.logprob ?? null, text_offset, top };
      text_offset += charactersIn(words.push([id]));
      return report;
    });
  }
}

/** Says the prompt first. */
export async function* echoed(
  steps: AsyncIterable<ChoiceStep>,
  choice: number,
  echo: string,
  reports: () => readonly DrawnReport[],
): AsyncGenerator<ChoiceStep, void, undefined> {
  let is_said = false;
  for await (const step of steps) {
    if (is_said) yield step;
    else yield { ...step, said: [{ kind: "text", choice, text: echo, tokens: reports() }, ...step.said] };
    is_said = true;
  }
}
