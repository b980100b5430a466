/** What a model is, as its files say before anything is loaded. Knows no file format. */

import type { Purpose } from "./purpose.ts";
import type { KvBits } from "./settings.ts";

/** What a caller may ask of a model; of those that answer, as its chat template knows it. */
export type Capability = "chat" | "completions" | "tools" | "reasoning" | "embeddings" | "rerank";

export interface ModelCard {
  readonly family: string;
  readonly purpose: Purpose["kind"] | null;
  readonly capabilities: readonly Capability[];
  /** Of all tensors that count as weights. */
  readonly parameters: number;
  /** Each form that its weights have, the most of them first. */
  readonly quantization: readonly { readonly form: string; readonly parameters: number }[];
  readonly context_length: number | null;
  readonly layers: number | null;
  /** Numbers of a position between two layers. */
  readonly hidden_size: number | null;
  readonly cache: {
    /** Of all layers but those that keep less; "recurrent" where some keep the same however long the text. */
    readonly kind: "full" | "windowed" | "recurrent" | "none";
    /** How many positions its windowed layers see. */
    readonly window: number | null;
    /** Of each number. */
    readonly bits: KvBits;
    readonly bytes_per_token: number;
    /** What recurrent layers keep of a text, however long. */
    readonly bytes_per_text: number;
  };
  /** On disk. */
  readonly bytes_weights: number;
  readonly chat_template: string | null;
  /** Its chat template speaks of thoughts. */
  readonly thinks: boolean;
  /** How its files want tokens to be drawn; null where they say nothing. */
  readonly sampling: Readonly<Record<"temperature" | "top_k" | "top_p" | "min_p", number | null>>;
  /** Variables that its chat template asks for; null: it has no template. */
  readonly chat_template_options: readonly string[] | null;
  /** Why it cannot be loaded, as far as headers tell; empty: nothing speaks against it. */
  readonly not_supported: readonly string[];
  /** What differs here from what its files hold. */
  readonly notes: readonly string[];
}
