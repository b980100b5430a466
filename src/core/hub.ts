/** The hub that models are published on, as the owner of a server sees it. Knows no HTTP and no store. */

/** Where the token comes from that it is asked with; `lost`: one was stored, and cannot be opened any more. */
export type TokenState = "none" | "stored" | "environment" | "file" | "lost";

export interface HubStatus {
  readonly hf_endpoint: string;
  readonly token: TokenState;
}

export interface HubWords {
  readonly hf_endpoint?: string;
  /** undefined keeps the one there is, null removes it. */
  readonly token?: string | null;
}

export interface HubTest {
  readonly outcome: "ok" | "no_token" | "token_lost" | "unauthorised" | "refused" | "unreachable";
  readonly detail: string;
  /** Whose token it is. */
  readonly name: string | null;
  readonly latency_ms: number;
}

export interface HubDesk {
  status(): HubStatus;
  change(words: HubWords): Promise<void>;
  test(signal: AbortSignal): Promise<HubTest>;
}
