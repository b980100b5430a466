/** What a request leaves open, put into it: as a profile has it, or as the owner wants it of a provider. */

import type { Call, Neutral } from "../core/exchange.ts";
import type { GenerationRequest, Prompt } from "../core/generation.ts";
import type { ProfileWords } from "../core/profile.ts";
import { withMissing, withSystemMessage } from "./remote/top-level-model.ts";

export type Defaults = Pick<
  ProfileWords,
  "adapter" | "system_prompt" | "temperature" | "top_p" | "max_tokens" | "template_options" | "context_length"
>;

/** In neutral form, and in the body as it came but for what is added. */
export function withDefaults(call: Call, defaults: Defaults): Call {
  return { ...call, body: writtenInto(call, defaults), neutral: () => neutralWith(call.neutral(), defaults) };
}

/** What the request says goes before. */
export function completed(request: GenerationRequest, defaults: Defaults): GenerationRequest {
  const { sampling } = request;
  return {
    ...request,
    prompt: withSystemPrompt(request.prompt, defaults.system_prompt),
    sampling: {
      ...sampling,
      temperature: sampling.temperature ?? defaults.temperature,
      top_p: sampling.top_p ?? defaults.top_p,
    },
    adapter: request.adapter ?? defaults.adapter,
    tokens_max: request.tokens_max ?? defaults.max_tokens,
    template_options: { ...defaults.template_options, ...request.template_options },
    context_tokens_max: request.context_tokens_max ?? defaults.context_length,
  };
}

/** How each endpoint of a protocol that providers speak calls the most tokens of an answer; the first is written. */
const LENGTHS: Readonly<Partial<Record<Call["endpoint"], readonly string[]>>> = {
  chat: ["max_tokens", "max_completion_tokens"],
  completions: ["max_tokens"],
  messages: ["max_tokens"],
  responses: ["max_output_tokens"],
};

/** What only this machine's own models have words for is not written. */
function writtenInto({ endpoint, body }: Call, { system_prompt, temperature, top_p, max_tokens }: Defaults): string {
  const lengths = LENGTHS[endpoint];
  if (lengths === undefined) return body;
  const numbers = [
    [lengths, max_tokens],
    [["temperature"], temperature],
    [["top_p"], top_p],
  ] as const;
  const numbered = numbers.reduce(
    (text, [names, value]) => (value === null ? text : withMissing(text, names, value)),
    body,
  );
  if (system_prompt === null) return numbered;
  switch (endpoint) {
    case "chat":
      return withSystemMessage(numbered, system_prompt);
    case "messages":
      return withMissing(numbered, ["system"], system_prompt);
    case "responses":
      return withMissing(numbered, ["instructions"], system_prompt);
    default:
      return numbered; // a bare text has no place for it
  }
}

function neutralWith(neutral: Neutral, defaults: Defaults): Neutral {
  switch (neutral.kind) {
    case "generation": {
      const [first, ...rest] = neutral.generations;
      const each = (request: GenerationRequest) => completed(request, defaults);
      return { ...neutral, generations: [each(first), ...rest.map(each)] };
    }
    case "count":
      return { ...neutral, request: completed(neutral.request, defaults) };
    default:
      return neutral;
  }
}

function withSystemPrompt(prompt: Prompt, content: string | null): Prompt {
  if (content === null || prompt.kind !== "messages") return prompt;
  if (prompt.messages.some(({ role }) => role === "system")) return prompt;
  return { ...prompt, messages: [{ role: "system", content }, ...prompt.messages] };
}
