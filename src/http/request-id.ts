/** Names of requests: what a caller is told and what the log shows. */

/** The name of each request in progress. */
export class RequestIds {
  readonly #ids = new WeakMap<Request, string>();
  readonly #make: () => string;

  constructor(make: () => string) {
    this.#make = make;
  }

  /** The first call for a request names it. */
  of(request: Request): string {
    const id = this.#ids.get(request) ?? this.#make();
    this.#ids.set(request, id);
    return id;
  }
}
