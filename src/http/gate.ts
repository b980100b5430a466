/** Who may ask what: callers with a key by what it may, others as callers of this machine, where those need none. */

import { API_KEY_PREFIX, type ApiKey, type ApiKeyStore } from "../core/api-keys.ts";
import { Failure } from "../core/failure.ts";
import { refuseForeign } from "./loopback.ts";

/** What a key that is no administrator's opens: paths are held to what is known, so that no spelling opens another. */
const ASKS =
  /^\/(?:v1\/(?:chat\/completions|completions|embeddings|messages(?:\/count_tokens)?|rerank|score|models(?:\/[^/]+){0,2}|responses(?:\/\w+){0,2})|api\/(?:chat|generate|embed|embeddings|tags|ps|show|version)|tokenize|detokenize|apply-template)$/;

/** What tells nothing of anybody: whether it runs, and its interface. */
const OPEN = /^\/(?:health|docs(?:\/.*)?|openapi\.json)?$/;

export interface GateParts {
  readonly keys: Pick<ApiKeyStore, "find">;
  /** Whether callers of this machine need one too; the owner may change it. */
  readonly isKeyRequired: () => boolean;
}

export class Gate {
  readonly #parts: GateParts;
  readonly #callers = new WeakMap<Request, ApiKey>();

  constructor(parts: GateParts) {
    this.#parts = parts;
  }

  /** Throws a `Failure` where the caller may not ask this. */
  admit(request: Request): void {
    const key = this.#keyOf(request);
    if (key !== null) {
      this.#callers.set(request, key);
      refuseBeyond(key, pathOf(request));
    } else if (!this.#parts.isKeyRequired()) {
      refuseForeign(request);
    } else if (!OPEN.test(pathOf(request))) {
      throw unknown("it has no API key; send one as Authorization: Bearer or x-api-key");
    }
  }

  /** null: a caller without a key, or one that was not admitted. */
  callerOf(request: Request): ApiKey | null {
    return this.#callers.get(request) ?? null;
  }

  /** What does not even look like one of ours is a word that clients send where none is needed. */
  #keyOf({ headers }: Request): ApiKey | null {
    const bearer = /^Bearer +(.*)$/i.exec(headers.get("authorization") ?? "")?.[1];
    const secret = [headers.get("x-api-key"), bearer].find((word) => word?.startsWith(API_KEY_PREFIX));
    if (!secret) return null;
    const key = this.#parts.keys.find(secret);
    // also where none is needed: a label that its owner relies on must not be lost with the key
    if (key === null) throw unknown("its API key is not known here; it was removed, or belongs to another server");
    return key;
  }
}

/** As it was sent where it does not parse. */
export function pathOf({ url }: Request): string {
  return URL.canParse(url) ? new URL(url).pathname : url;
}

function refuseBeyond({ name, admin }: ApiKey, path: string): void {
  if (admin || OPEN.test(path) || ASKS.test(path)) return;
  throw new Failure("forbidden", `Cannot answer ${path}: the API key "${name}" is not an administrator's`);
}

function unknown(state: string): Failure {
  return new Failure("unauthorized", `Cannot answer the request: ${state}`);
}
