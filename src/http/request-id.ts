/** Names of requests: what a caller is told and what the log shows. */

interface Named {
  readonly id: string;
  /** Whether it has come to a dialect, which tells the audit itself. */
  in_dialect: boolean;
  /** Where it went before it failed; null: nowhere. */
  failed_route: string | null;
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

  failOn(request: Request, route: string): void {
    this.#of(request).failed_route = route;
  }

  failedRouteOf(request: Request): string | null {
    return this.#of(request).failed_route;
  }

  isInDialect(request: Request): boolean {
    return this.#of(request).in_dialect;
  }

  #of(request: Request): Named {
    const known = this.#named.get(request);
    if (known !== undefined) return known;
    const named = { id: this.#make(), in_dialect: false, failed_route: null };
    this.#named.set(request, named);
    return named;
  }
}
