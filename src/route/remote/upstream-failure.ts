/** A provider's refusal or fault before its answer began. */

import { Failure, type FailureKind } from "../../core/failure.ts";

/** What the provider itself wrote, for a caller of the same protocol. */
export interface UpstreamAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

export interface UpstreamFault {
  readonly kind: FailureKind;
  readonly message: string;
  /** The same request may succeed here in a moment. */
  readonly retryable: boolean;
  /** Says something of the provider's health and not only of the request. */
  readonly unhealthy: boolean;
  readonly retry_after_s: number | null;
  readonly answer: UpstreamAnswer | null;
}

export class UpstreamFailure extends Failure {
  readonly retryable: boolean;
  readonly unhealthy: boolean;
  readonly answer: UpstreamAnswer | null;

  constructor(fault: UpstreamFault) {
    super(fault.kind, fault.message, null, fault.retry_after_s);
    this.retryable = fault.retryable;
    this.unhealthy = fault.unhealthy;
    this.answer = fault.answer;
  }
}

/** Neither a retry nor another request would be told anything else. */
export function broken(message: string): UpstreamFailure {
  return new UpstreamFailure({
    kind: "upstream",
    message,
    retryable: false,
    unhealthy: true,
    retry_after_s: null,
    answer: null,
  });
}

/** What a moment may heal. */
export function faltering(kind: "upstream" | "upstream_timeout", message: string): UpstreamFailure {
  return new UpstreamFailure({ kind, message, retryable: true, unhealthy: true, retry_after_s: null, answer: null });
}
