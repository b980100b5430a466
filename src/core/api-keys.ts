/** Keys by which callers say who they are, and what each may. Knows no HTTP and no store. */

export interface ApiKeyWords {
  /** Under which the audit tells its requests. */
  readonly name: string;
  /** May also set the server and look into it; others only ask models. */
  readonly admin: boolean;
  readonly privacy: "local-only" | null;
}

export interface ApiKey extends ApiKeyWords {
  readonly id: number;
  readonly created_ms: number;
}

/** The one time that the key itself is told. */
export interface NewApiKey {
  readonly key: ApiKey;
  readonly secret: string;
}

export interface ApiKeyStore {
  keys(): readonly ApiKey[];
  /** Throws a `Failure` where another has that name. */
  add(words: ApiKeyWords): NewApiKey;
  /** Throws a `Failure` where there is no such key, or another has that name. */
  change(id: string, words: ApiKeyWords): ApiKey;
  /** Throws a `Failure` where there is no such key. */
  remove(id: string): ApiKey;
  /** Whose secret it is; null: nobody's. */
  find(secret: string): ApiKey | null;
}

/** Tells our keys from the words that clients send where none is needed, and from other servers' keys. */
export const API_KEY_PREFIX = "bsk_";
