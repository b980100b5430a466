/** Calls to one provider: retries, a breaker for each of its models, a cap. Knows no protocol and no key. */

import {
  BrokenCircuitError,
  type CircuitBreakerPolicy,
  CircuitState,
  ConsecutiveBreaker,
  circuitBreaker,
  DelegateBackoff,
  handleWhen,
  type RetryPolicy,
  retry,
} from "cockatiel";
import { Failure } from "../../core/failure.ts";
import type { BreakerReport } from "../../core/routing.ts";
import { unlessAborted } from "../../core/unless-aborted.ts";
import { Connection, type TimeLimits, type UpstreamRequest } from "./connection.ts";
import { refusal } from "./refusal.ts";
import { UpstreamFailure } from "./upstream-failure.ts";

export interface Tuning extends TimeLimits {
  readonly retries_max: number;
  readonly backoff_ms: number;
  /** Who must wait longer is told so at once. */
  readonly retry_after_s_max: number;
  readonly failures_to_open: number;
  readonly half_open_after_ms: number;
  readonly in_flight_max: number;
}

export const TUNING: Tuning = {
  connect_ms_max: 10_000, // a handshake over the worst of networks
  first_byte_ms_max: 120_000, // a model of reasoning thinks for a minute or two before its first word
  total_ms_max: 900_000, // the longest answers of today's models
  retries_max: 2,
  backoff_ms: 250,
  retry_after_s_max: 20, // longer than that a person looks elsewhere
  failures_to_open: 5,
  half_open_after_ms: 30_000,
  in_flight_max: 256, // accounts are limited well below
};

export class Upstream {
  readonly name: string;
  readonly #tuning: Tuning;
  readonly #retry: RetryPolicy;
  readonly #breakers = new Map<string, CircuitBreakerPolicy>();
  #in_flight = 0;

  constructor(name: string, tuning: Tuning, random: () => number) {
    this.name = name;
    this.#tuning = tuning;
    this.#retry = retry(
      handleWhen((error) => this.#heals(error)),
      {
        maxAttempts: tuning.retries_max,
        backoff: new DelegateBackoff(({ attempt, result }) =>
          delayOf("error" in result ? result.error : null, attempt, tuning.backoff_ms, random()),
        ),
      },
    );
  }

  get in_flight(): number {
    return this.#in_flight;
  }

  /** `read` gets a good answer; it is retried with it, so it must not have passed anything on before it throws. */
  async ask<Value>(
    model: string,
    request: UpstreamRequest,
    signal: AbortSignal,
    read: (connection: Connection, response: Response) => Promise<Value>,
  ): Promise<Value> {
    const breaker = this.#breakerOf(model);
    const attempt = async () => {
      signal.throwIfAborted();
      this.#refuseCrowd();
      if (breaker.state === CircuitState.HalfOpen) throw new BrokenCircuitError();
      return await breaker.execute(async () => await this.#once(request, signal, read));
    };
    signal.throwIfAborted();
    try {
      // A wait between two attempts does not keep who has left.
      return await unlessAborted(this.#retry.execute(attempt, signal), signal);
    } catch (error) {
      if (!(error instanceof BrokenCircuitError)) throw error;
      const seconds = Math.ceil(this.#tuning.half_open_after_ms / 1000);
      const state = `it failed ${this.#tuning.failures_to_open} times in a row and is left alone for up to ${seconds} s`;
      throw new Failure("upstream", `Cannot use provider "${this.name}" for "${model}": ${state}`, null, seconds);
    }
  }

  breakers(): readonly BreakerReport[] {
    return [...this.#breakers].map(([model, { state }]) => ({ model, state: STATES[state] }));
  }

  reset(): void {
    this.#breakers.clear();
  }

  async #once<Value>(
    request: UpstreamRequest,
    signal: AbortSignal,
    read: (connection: Connection, response: Response) => Promise<Value>,
  ): Promise<Value> {
    this.#in_flight += 1;
    const connection = new Connection(this.name, request, this.#tuning, signal, () => {
      this.#in_flight -= 1;
    });
    try {
      const response = await connection.open();
      if (!response.ok) throw await refusal(connection, response, request.headers);
      return await read(connection, response);
    } catch (error) {
      const trouble = connection.trouble(error);
      connection.close();
      throw trouble;
    }
  }

  #refuseCrowd(): void {
    const { in_flight_max } = this.#tuning;
    if (this.#in_flight < in_flight_max) return;
    const state = `${this.#in_flight} requests are with it, at most ${in_flight_max} may be`;
    throw new Failure("overloaded", `Cannot use provider "${this.name}": ${state}`);
  }

  #heals(error: unknown): boolean {
    if (!(error instanceof UpstreamFailure)) return false;
    return error.retryable && (error.retry_after_s ?? 0) <= this.#tuning.retry_after_s_max;
  }

  #breakerOf(model: string): CircuitBreakerPolicy {
    const known = this.#breakers.get(model);
    if (known !== undefined) return known;
    const breaker = circuitBreaker(
      handleWhen((error) => error instanceof UpstreamFailure && error.unhealthy),
      {
        halfOpenAfter: this.#tuning.half_open_after_ms,
        breaker: new ConsecutiveBreaker(this.#tuning.failures_to_open),
      },
    );
    const [oldest] = this.#breakers.keys();
    if (this.#breakers.size >= BREAKERS_MAX && oldest !== undefined) this.#breakers.delete(oldest);
    this.#breakers.set(model, breaker);
    return breaker;
  }
}

// Callers name models as they like; a provider has some hundreds.
const BREAKERS_MAX = 512;

const STATES = {
  [CircuitState.Closed]: "closed",
  [CircuitState.Open]: "open",
  [CircuitState.HalfOpen]: "half_open",
  [CircuitState.Isolated]: "open",
} as const;

/** Half of the wait is by chance, so that those who failed together do not come back together. */
function delayOf(error: unknown, attempt: number, backoff_ms: number, chance: number): number {
  const said_s = error instanceof UpstreamFailure ? error.retry_after_s : null;
  if (said_s !== null) return said_s * 1000 + chance * backoff_ms;
  return backoff_ms * 2 ** (attempt - 1) * (0.5 + chance / 2);
}
