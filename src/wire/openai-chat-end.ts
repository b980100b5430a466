/** Where the prompt of an OpenAI chat ends, by the names that vLLM, Mistral and DeepSeek have for it. Knows no chat template. */

import { type Static, Type } from "@sinclair/typebox";
import { Failure } from "../core/failure.ts";
import type { ChatEnd } from "../core/generation.ts";
import { messageSchema } from "./openai-messages.ts";
import { optional } from "./schema.ts";

export const endParameters = {
  continue_final_message: optional(
    Type.Boolean({
      description: "The answer goes on with the text of the last message, the assistant's, and holds only what is new.",
    }),
  ),
  add_generation_prompt: optional(
    Type.Boolean({ description: "`false`: nothing stands behind the messages that would begin an answer." }),
  ),
};

const endBody = Type.Object({ ...endParameters, messages: Type.Array(messageSchema) });

/** The `ends` of a prompt, where it is not the usual one. */
export function endOf(body: Static<typeof endBody>): { readonly ends?: ChatEnd } {
  const last = body.messages.length - 1;
  const early = body.messages.findIndex(({ prefix }, index) => prefix === true && index < last);
  if (early >= 0) throw wrong(`messages[${early}].prefix`, "only the last message can be gone on with");
  const named = body.messages[last]?.prefix === true ? `messages[${last}].prefix` : "continue_final_message";
  if (named === "continue_final_message" && body.continue_final_message !== true) {
    return body.add_generation_prompt === false ? { ends: "bare" } : {};
  }
  if (body.continue_final_message === false) throw wrong(named, '"continue_final_message" says false');
  if (body.add_generation_prompt) throw wrong("add_generation_prompt", `"${named}" says that the answer has begun`);
  refuseClosed(body.messages[last], named);
  return { ends: "begun" };
}

function refuseClosed(message: Static<typeof messageSchema> | undefined, parameter: string): void {
  if (message?.role !== "assistant") {
    throw wrong(parameter, `the last message is of the role "${message?.role}", expected "assistant"`);
  }
  if (message.tool_calls?.length || message.function_call)
    throw wrong(parameter, "the last message calls tools, so that it has ended");
}

function wrong(parameter: string, state: string): Failure {
  return new Failure("invalid_request", `Cannot use "${parameter}": ${state}`, parameter);
}
