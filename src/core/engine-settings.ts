/** What the owner may set about the engine. */

export interface EngineSettings {
  /** Rows that step together; the others wait. */
  readonly rows_max: number;
  /** How long a step may take while rows decode: prompts get what that leaves. */
  readonly decode_gap_ms_target: number;
  /** Prompt tokens in a step while no row decodes. */
  readonly chunk_tokens_max: number;
  /** Keys and values of all rows and of the prefix cache, for each model. */
  readonly kv_bytes_max: number;
}

// As shares of what people notice: a reader does not see a gap of a tenth of a second; sixteen rows keep two cores busy.
const ROWS_MAX = 16;
const DECODE_GAP_MS_TARGET = 100;
const CHUNK_TOKENS_MAX = 512;
const KV_SHARE_OF_MEMORY = 1 / 8;

export function defaultEngineSettings(memory_bytes: number): EngineSettings {
  return {
    rows_max: ROWS_MAX,
    decode_gap_ms_target: DECODE_GAP_MS_TARGET,
    chunk_tokens_max: CHUNK_TOKENS_MAX,
    kv_bytes_max: Math.floor(memory_bytes * KV_SHARE_OF_MEMORY),
  };
}
