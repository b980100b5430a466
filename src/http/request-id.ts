/** Names of requests: what a caller is told and what the log shows. */

interface Named {
  readonly id: string;
  /** Whether it has come to a dialect, which tells the audit itself. */
  in_dialect: boolean;
}

/** The name of each request in progress. */
export class RequestIds {
  readonly #named = new WeakMap<Request, Named>();
  readonly #make: () => string;

  constructor(make: () => string) {
    this.#make = make;
  }

  /** The first call for a request names it. */
  of(request: Request): string {
    return this.#of(request).id;
  }

  enterDialect(request: Request): string {
    const named = this.#of(request);
    named.in_dialect = true;
    return named.id;
  }

  isInDialect(request: Request): boolean {
    return this.#of(request).in_dialect;
  }

  #of(request: Request): Named {
    const known = this.#named.get(request);
    if (known !== undefined) return known;
    const named = { id: this.#make(), in_dialect: false };
    this.#named.set(request, named);
    return named;
  }
}
