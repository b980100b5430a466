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

/** What a download has come to. */
export type PullStep =
  /** The hub is asked what the model's files are. */
  | { readonly kind: "listing" }
  /** `digest`: as in "sha256:…"; it names the file. */
  | { readonly kind: "file"; readonly digest: string; readonly bytes_total: number; readonly bytes_here: number }
  | { readonly kind: "verifying" }
  | { readonly kind: "placing" }
  /** `model` can be asked from now on. */
  | { readonly kind: "done"; readonly model: string };

export interface HubDesk {
  /**
   * Fetches a model, by a name as the hub has it; whoever asks for the same meanwhile follows the same download. It goes
   * on while one of them waits, and what is here by then stays for the next. Ends with `done`, or throws a `Failure`.
   */
  pull(name: string, signal: AbortSignal): AsyncIterable<PullStep>;
  status(): HubStatus;
  change(words: HubWords): Promise<void>;
  test(signal: AbortSignal): Promise<HubTest>;
}
