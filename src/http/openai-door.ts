/** What all endpoints of OpenAI's dialect have in common. */

import { streamProblem } from "../wire/problem.ts";
import { comment } from "../wire/waiting.ts";
import { dataLine, EVENT_STREAM } from "./generation.ts";

export const OPENAI = {
  protocol: "openai",
  passed_headers: ["openai-beta"],
  framing: {
    media_type: EVENT_STREAM,
    frame: dataLine,
    ending: "data: [DONE]\n\n",
    waiting: comment,
  },
  lastWords: streamProblem,
} as const;
