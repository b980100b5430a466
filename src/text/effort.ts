/** How a model is told to think much, little or not at all: by its chat template, else by a bound. Knows no model by its name. */

import { Failure } from "../core/failure.ts";
import type { ReasoningEffort, ReasoningWishes } from "../core/generation.ts";
import { mentionsThoughts } from "./answer/thoughts.ts";
import type { ChatTemplate } from "./chat-template.ts";

export interface Effort {
  /** Variables of the template. */
  readonly options: Readonly<Record<string, unknown>>;
  /** A thought has at most so many tokens; null: as many as the model likes. */
  readonly tokens_max: number | null;
}

/**
 * Throws where a wish would change nothing: that would be a lie, unless it was a hint. A bound in tokens goes before one
 * by an effort.
 */
export function effortOf(template: ChatTemplate, { effort, tokens_max, is_hint = false }: ReasoningWishes): Effort {
  const thinks = mentionsThoughts(template.source);
  if (is_hint && !thinks && !CONTROLS.some((name) => template.knows(name))) return { options: {}, tokens_max: null };
  if (tokens_max !== null && !thinks) {
    const state = "the model's chat template speaks of no thought";
    throw new Failure("unsupported", `Cannot bound a thought: ${state}`, "reasoning");
  }
  if (effort === null) return { options: {}, tokens_max };
  const bound = tokens_max ?? TOKENS_MAX[effort];
  const thinking = SWITCHES.find((name) => template.knows(name));
  if (thinking !== undefined) {
    return { options: { [thinking]: effort !== "none" }, tokens_max: effort === "none" ? tokens_max : bound };
  }
  if (template.knows("reasoning_effort") && effort !== "none") {
    return { options: { reasoning_effort: levelOf(effort, is_hint) }, tokens_max };
  }
  if (thinks) return { options: {}, tokens_max: bound };
  if (effort === "none") return { options: {}, tokens_max };
  throw unfit(effort, "the model's chat template speaks of no thought");
}

/** On or off. */
const SWITCHES = ["enable_thinking", "thinking"];
const CONTROLS = [...SWITCHES, "reasoning_effort"];
/** What models of a graded effort were trained with. */
const LEVELS: readonly ReasoningEffort[] = ["low", "medium", "high"];

/** Of a hint the nearest. */
function levelOf(effort: ReasoningEffort, is_hint: boolean): ReasoningEffort {
  if (LEVELS.includes(effort)) return effort;
  if (is_hint) return effort === "minimal" ? "low" : "high";
  throw unfit(effort, `expected ${LEVELS.map((level) => JSON.stringify(level)).join(", ")} for this model`);
}

/** Of models without grades: what is enough for a question, a task, a proof. */
const TOKENS_MAX: Readonly<Record<ReasoningEffort, number | null>> = {
  none: 0,
  minimal: 256,
  low: 1024,
  medium: 4096,
  high: 16_384,
  xhigh: 32_768,
  max: null,
};

function unfit(effort: ReasoningEffort, state: string): Failure {
  return new Failure("unsupported", `Cannot reason with effort "${effort}": ${state}`, "reasoning_effort");
}
