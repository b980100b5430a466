/** The refusal of what a backend does not do at all. */

import type { Call } from "../core/exchange.ts";
import { Failure } from "../core/failure.ts";

export function unsupportedEndpoint(call: Call, backend: string): Failure {
  return new Failure("unsupported", `Cannot answer ${call.endpoint} by "${backend}": it does not do that`);
}
