/**
 * Everything the main thread and the engine say to each other. Plain data only, so the engine may also live in another
 * process.
 */

import type { AdapterFiles, AdapterMemory } from "../core/adapter.ts";
import type { LoadedModel, ModelEstimate } from "../core/backend.ts";
import type { EncoderText } from "../core/encoding.ts";
import type { FailureRecord } from "../core/failure.ts";
import type { RowStep, Sampling } from "../core/generation.ts";
import type { CompiledGrammar, ThoughtBound } from "../core/grammar.ts";
import type { PrefixMatch } from "../core/prefix.ts";
import type { Urgency } from "../core/priority.ts";
import type { EngineSettings, KvBits } from "../core/settings.ts";

export interface RowStart {
  readonly id: number;
  readonly model: string;
  readonly adapter: AdapterFiles | null;
  /** What all adapters of the model may take, this one among them. */
  readonly adapter_bytes_max: number;
  readonly prompt_ids: readonly number[];
  /** What the answer is expected to be: it comes sooner where it is. */
  readonly predicted_ids?: readonly number[];
  readonly sampling: Sampling;
  /** How many of the likeliest tokens are told with each drawn one; null: nothing is told. */
  readonly logprobs: number | null;
  /** Also how likely each token of the prompt was is told. */
  readonly prompt_logprobs: boolean;
  readonly tokens_max: number;
  /** No stop token is drawn before so many others. */
  readonly tokens_min: number;
  /** A row ends when one of these is drawn; that token is not reported. */
  readonly stop_token_ids: readonly number[];
  /** What the answer's text must follow, and ends with; null: anything. */
  readonly grammar: CompiledGrammar | null;
  /** null: a thought has as many tokens as the model likes. */
  readonly thought: ThoughtBound | null;
  readonly urgency: Urgency;
}

export interface RowProgress extends RowStep {
  readonly id: number;
}

/** What an engine is made of. */
export interface EngineParts {
  /** The mlx-c it opens. */
  readonly library: string;
  readonly settings: EngineSettings;
  /** Where it keeps blocks of the prefix cache, for as long as the program's version is this. */
  readonly blocks: { readonly folder: string; readonly version: string };
}

/** The word that makes the executable an engine, for the process that started it. */
export const ENGINE_COMMAND = "engine-for-parent";

/** Whatever the engine lives in: a Worker of the runtime is one. */
export interface EnginePort {
  postMessage(message: ToEngine): void;
  addEventListener(type: "message", listener: (event: MessageEvent<FromEngine>) => void): void;
  /** It ended, or could not start. */
  addEventListener(type: "error", listener: (event: ErrorEvent) => void): void;
  addEventListener(type: "close", listener: () => void): void;
  terminate(): void;
}

/** Whose place in the prefix cache is asked for. */
export interface PromptOfModel {
  readonly model: string;
  readonly adapter: AdapterFiles | null;
  readonly prompt_ids: readonly number[];
}

export type ToEngine =
  | { readonly kind: "start"; readonly parts: EngineParts }
  | { readonly kind: "measure"; readonly id: number; readonly path: string; readonly kv_bits: KvBits }
  | {
      readonly kind: "load";
      readonly model: string;
      readonly path: string;
      readonly kv_bytes_max: number;
      readonly kv_bits: KvBits;
    }
  /** Of a model without rows. */
  | { readonly kind: "unload"; readonly model: string }
  /** Drops the adapters of a model that no row uses. */
  | { readonly kind: "trim_adapters"; readonly model: string }
  /** For all of MLX, from now on. */
  | { readonly kind: "limit_memory"; readonly bytes: number }
  /** What a model's tokens spell: sent once, before its first row that is held to a text. */
  | {
      readonly kind: "tokens";
      readonly model: string;
      readonly bytes_base64: string;
      readonly offsets: readonly number[];
    }
  | { readonly kind: "generate"; readonly row: RowStart }
  /** Texts to numbers. */
  | { readonly kind: "read"; readonly id: number; readonly model: string; readonly texts: readonly EncoderText[] }
  | { readonly kind: "abort"; readonly id: number }
  | ({ readonly kind: "explain"; readonly id: number } & PromptOfModel)
  /** Its last message. */
  | { readonly kind: "stop" };

export type FromEngine =
  | { readonly kind: "started"; readonly mlx_version: string; readonly device: string }
  | { readonly kind: "start_failed"; readonly failure: FailureRecord }
  /** Still at work on a load. */
  | { readonly kind: "loading"; readonly model: string; readonly bytes_done: number }
  | { readonly kind: "loaded"; readonly loaded: LoadedModel }
  | { readonly kind: "unloaded"; readonly model: string }
  /** What the adapters of a model take has changed. */
  | { readonly kind: "adapters"; readonly model: string; readonly memory: AdapterMemory }
  | { readonly kind: "adapters_trimmed"; readonly model: string }
  | { readonly kind: "measured"; readonly id: number; readonly estimate: ModelEstimate }
  | { readonly kind: "measure_failed"; readonly id: number; readonly failure: FailureRecord }
  | { readonly kind: "load_failed"; readonly model: string; readonly failure: FailureRecord }
  /** Also without a row, as progress: a chunk of a prompt went through. */
  | { readonly kind: "step"; readonly rows: readonly RowProgress[] }
  | { readonly kind: "row_failed"; readonly id: number; readonly failure: FailureRecord }
  /** The numbers of each text, as core/floats.ts writes them. */
  | { readonly kind: "read"; readonly id: number; readonly values: readonly string[] }
  | { readonly kind: "read_failed"; readonly id: number; readonly failure: FailureRecord }
  | { readonly kind: "explained"; readonly id: number; readonly match: PrefixMatch }
  | { readonly kind: "stopped" };
