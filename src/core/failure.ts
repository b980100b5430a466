/** The one way a request can fail for a reason outside our code. Knows no status codes and no dialects. */

export type FailureKind =
  | "invalid_request" // the request itself is wrong; sending it again will not help
  | "unsupported" // understood, but not something this server does
  | "context_overflow" // the prompt does not fit the model
  | "unauthorized" // the caller does not say who it is, or nobody here knows it
  | "forbidden" // the caller may not do this
  | "not_found" // no such model or route
  | "too_large" // the body is over the limit
  | "overloaded" // a queue is full; try again later
  | "no_memory" // it does not fit beside what is in memory now
  | "timeout" // the owner's limit of time is over
  | "cancelled" // the owner ended it
  | "unavailable" // the model or the engine cannot serve until its owner mends it: a damaged file, a missing library
  | "engine" // the engine or the text worker died, or a step failed
  | "upstream" // a provider cannot be reached, failed, or gave an answer that makes no sense
  | "upstream_timeout"; // a provider took too long

/**
 * `parameter` names the field of the request at fault, in the caller's words, or is null; `retry_after_s` says when
 * to try again where that is known.
 */
export class Failure extends Error {
  readonly kind: FailureKind;
  readonly parameter: string | null;
  readonly retry_after_s: number | null;

  constructor(
    kind: FailureKind,
    message: string,
    parameter: string | null = null,
    retry_after_s: number | null = null,
  ) {
    super(message);
    this.name = "Failure";
    this.kind = kind;
    this.parameter = parameter;
    this.retry_after_s = retry_after_s;
  }
}

/** A failure in the form that crosses a thread. */
export interface FailureRecord {
  readonly kind: FailureKind;
  readonly message: string;
  readonly parameter: string | null;
}

export function toRecord(error: unknown, otherwise: FailureKind): FailureRecord {
  if (error instanceof Failure) {
    return { kind: error.kind, message: error.message, parameter: error.parameter };
  }
  const message = error instanceof Error ? error.message : String(error);
  return { kind: otherwise, message, parameter: null };
}

export function fromRecord(record: FailureRecord): Failure {
  return new Failure(record.kind, record.message, record.parameter);
}
