/** One request to a provider over HTTP, from its first byte to its end: its limits in time, and what went wrong. */

import { assert } from "../../core/assert.ts";
import { Failure } from "../../core/failure.ts";
import { broken, faltering } from "./upstream-failure.ts";

export interface TimeLimits {
  readonly connect_ms_max: number;
  /** Until something of the answer's body has come. */
  readonly first_byte_ms_max: number;
  readonly total_ms_max: number;
}

export interface UpstreamRequest {
  readonly method: "GET" | "POST";
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | null;
  /** Called before anything is sent. */
  onSend(): void;
}

type State =
  | { readonly kind: "open" }
  | { readonly kind: "late"; readonly what: string }
  | { readonly kind: "left" }
  | { readonly kind: "closed" }
  | { readonly kind: "finished" };

export class Connection {
  readonly provider: string;
  readonly #request: UpstreamRequest;
  readonly #limits: TimeLimits;
  readonly #client: AbortSignal;
  readonly #onClose: () => void;
  readonly #abort = new AbortController();
  readonly #leave = () => this.#end({ kind: "left" });
  readonly #timers: ReturnType<typeof setTimeout>[] = [];
  #first_byte: ReturnType<typeof setTimeout> | undefined;
  #state: State = { kind: "open" };

  constructor(
    provider: string,
    request: UpstreamRequest,
    limits: TimeLimits,
    client: AbortSignal,
    onClose: () => void,
  ) {
    this.provider = `provider "${provider}"`;
    this.#request = request;
    this.#limits = limits;
    this.#client = client;
    this.#onClose = onClose;
  }

  /** The headers of its answer. */
  async open(): Promise<Response> {
    const { connect_ms_max, first_byte_ms_max, total_ms_max } = this.#limits;
    this.#client.addEventListener("abort", this.#leave, { once: true });
    if (this.#client.aborted) this.#leave();
    const late = (what: string) => () => this.#end({ kind: "late", what });
    this.#first_byte = setTimeout(late(`it has not begun to answer in ${first_byte_ms_max} ms`), first_byte_ms_max);
    this.#timers.push(setTimeout(late(`it has not finished in ${total_ms_max} ms`), total_ms_max));
    const probe = setTimeout(() => void this.#probe(), connect_ms_max);
    this.#timers.push(probe);
    const { method, url, headers, body } = this.#request;
    this.#request.onSend();
    const signal = this.#abort.signal;
    // A provider that redirects would be given the key, and the prompt, on behalf of another.
    const response = await fetch(url, { method, headers, body, signal, redirect: "manual" });
    clearTimeout(probe);
    if (response.status >= 300 && response.status < 400) {
      throw broken(`Cannot use ${this.provider}: it redirects to ${hostOf(response.headers.get("location"))}`);
    }
    return response;
  }

  /** The answer's body has begun: from now on only the whole is timed. */
  began(): void {
    clearTimeout(this.#first_byte);
  }

  async *chunks(response: Response): AsyncGenerator<Uint8Array, void, undefined> {
    const reader = response.body?.getReader();
    if (reader === undefined) return;
    while (true) {
      const { done, value } = await reader.read();
      if (done) return;
      this.began();
      yield value;
    }
  }

  /** Ends it, wherever it is. What has not been read is lost. */
  close(): void {
    this.#end({ kind: "closed" });
  }

  /** All of the answer has been read: there is nothing to cut, and the socket may serve the next. */
  finish(): void {
    this.#end({ kind: "finished" });
  }

  /** What an error here means to whoever waits. */
  trouble(error: unknown): unknown {
    if (this.#state.kind === "left") return this.#client.reason;
    if (this.#state.kind === "late")
      return faltering("upstream_timeout", `Cannot use ${this.provider}: ${this.#state.what}`);
    if (error instanceof Failure) return error;
    assert(error instanceof Error, "what is thrown is an error");
    return faltering("upstream", `Cannot reach ${this.provider}: ${reason(error)}`);
  }

  #end(state: State): void {
    if (this.#state.kind !== "open") return;
    this.#state = state;
    this.#client.removeEventListener("abort", this.#leave);
    clearTimeout(this.#first_byte);
    for (const timer of this.#timers) clearTimeout(timer);
    if (state.kind !== "finished") this.#abort.abort();
    this.#onClose();
  }

  /** `fetch` does not tell when it has connected; one that is silent for long is asked whether anybody is there. */
  async #probe(): Promise<void> {
    const { connect_ms_max } = this.#limits;
    const { hostname, port, protocol } = new URL(this.#request.url);
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => resolve(false), connect_ms_max);
    const socket = {
      open: (connected: { end(): void }) => {
        resolve(true);
        connected.end();
      },
      data: () => undefined,
      connectError: () => resolve(false),
    };
    Bun.connect({ hostname, port: Number(port) || (protocol === "https:" ? 443 : 80), socket }).then(undefined, () =>
      resolve(false),
    );
    const reached = await promise;
    clearTimeout(timer);
    if (!reached) this.#end({ kind: "late", what: `it did not connect in ${connect_ms_max} ms` });
  }
}

function hostOf(location: string | null): string {
  return location !== null && URL.canParse(location) ? `"${new URL(location).host}"` : "another place";
}

function reason(error: Error): string {
  const code = "code" in error ? String(error.code) : "";
  switch (code) {
    case "ConnectionRefused":
    case "ECONNREFUSED":
      return "it refuses the connection";
    case "ECONNRESET":
    case "ConnectionClosed":
      return "it closed the connection";
    case "FailedToOpenSocket":
    case "ENOTFOUND":
      return "its host is not known, or cannot be reached";
    default:
      return code === "" ? error.name : code;
  }
}
