/** What all endpoints of OpenAI's dialect have in common. */

import { streamProblem } from "../wire/problem.ts";
import { dataLine } from "./generation.ts";

export const OPENAI = {
  protocol: "openai",
  passed_headers: ["openai-beta"],
  lastWords: (error: unknown, request_id: string) => dataLine(streamProblem(error, request_id)),
} as const;
