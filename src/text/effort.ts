/** How a model's chat template is told to think much, little or not at all. Knows no model by its name. */

import { Failure } from "../core/failure.ts";
import type { ReasoningEffort } from "../core/generation.ts";
import { mentionsThoughts } from "./answer/formats.ts";
import type { ChatTemplate } from "./chat-template.ts";

/** The template's variables for it. Throws where it has none: an effort that changes nothing would be a lie. */
export function effortOptions(template: ChatTemplate, effort: ReasoningEffort | null): Record<string, unknown> {
  if (effort === null) return {};
  const thinks = SWITCHES.find((name) => template.knows(name));
  if (thinks !== undefined) return { [thinks]: effort !== "none" };
  if (template.knows("reasoning_effort") && effort !== "none") {
    if (LEVELS.includes(effort)) return { reasoning_effort: effort };
    throw unfit(effort, `expected ${LEVELS.map((level) => JSON.stringify(level)).join(", ")} for this model`);
  }
  if (effort === "none" && !template.knows("reasoning_effort") && !mentionsThoughts(template.source)) return {};
  throw unfit(effort, "the model's chat template has no switch for it");
}

/** On or off. */
const SWITCHES = ["enable_thinking", "thinking"];
/** What models of a graded effort were trained with. */
const LEVELS: readonly ReasoningEffort[] = ["low", "medium", "high"];

function unfit(effort: ReasoningEffort, state: string): Failure {
  return new Failure("unsupported", `Cannot reason with effort "${effort}": ${state}`, "reasoning_effort");
}
