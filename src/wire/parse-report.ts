/** What of an answer was not understood, as every dialect tells it beside its own fields. */

import { Type } from "@sinclair/typebox";
import type { ParseReport } from "../core/generation.ts";

/** A field of its own, and none where all was understood. */
export function reported(reports: readonly ParseReport[] = []): { parse_report?: readonly ParseReport[] } {
  return reports.length === 0 ? {} : { parse_report: reports };
}

export const parseReportSchema = Type.Optional(
  Type.Array(
    Type.Object({
      trouble: Type.Union([Type.Literal("malformed"), Type.Literal("unfinished"), Type.Literal("ignored")]),
      reason: Type.String(),
      text: Type.String(),
    }),
    {
      description:
        "What of the answer was not understood as calls or thoughts. It is content too, but for what is ignored and the rest of a call that was cut.",
    },
  ),
);
