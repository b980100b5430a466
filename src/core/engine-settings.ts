/** What the owner may set about the engine. */

export interface EngineSettings {
  /** Rows that step together; the others wait. */
  readonly rows_max: number;
  /** How long a step may take while rows decode: prompts get what that leaves. */
  readonly decode_gap_ms_target: number;
  /** Prompt tokens in a step while no row decodes. */
  readonly chunk_tokens_max: number;
  /** Tokens that are guessed from a row's own text and verified in one step; 0: none. */
  readonly draft_tokens_max: number;
  /** Keys and values of all rows and of the prefix cache, for each model. */
  readonly kv_bytes_max: number;
  /** The prefix cache on disk, of all models together; 0: none. */
  readonly kv_disk_bytes_max: number;
}

export type EngineSetting = keyof EngineSettings;

// As shares of what people notice: a reader does not see a gap of a tenth of a second; sixteen rows keep two cores busy.
const ROWS_MAX = 16;
const DECODE_GAP_MS_TARGET = 100;
const CHUNK_TOKENS_MAX = 512;
const DRAFT_TOKENS_MAX = 0;
const KV_SHARE_OF_MEMORY = 1 / 8;
const KV_DISK_BYTES_MAX = 4 * 2 ** 30;

export function defaultEngineSettings(memory_bytes: number): EngineSettings {
  return {
    rows_max: ROWS_MAX,
    decode_gap_ms_target: DECODE_GAP_MS_TARGET,
    chunk_tokens_max: CHUNK_TOKENS_MAX,
    draft_tokens_max: DRAFT_TOKENS_MAX,
    kv_bytes_max: Math.floor(memory_bytes * KV_SHARE_OF_MEMORY),
    kv_disk_bytes_max: KV_DISK_BYTES_MAX,
  };
}

/** From least to most, with the reason of each. */
const RANGES: Readonly<Record<EngineSetting, readonly [number, number]>> = {
  rows_max: [1, 64], // as many as may be answered at once
  decode_gap_ms_target: [1, 10_000], // above, a stream seems to have ended
  chunk_tokens_max: [32, 8192], // a block; above, a step takes seconds, and who left is noticed no earlier
  draft_tokens_max: [0, 8],
  kv_bytes_max: [2 ** 20, 2 ** 40], // below, no model has a block; above, no machine has the memory
  kv_disk_bytes_max: [0, 2 ** 50],
};

export const ENGINE_SETTING_NAMES = Object.keys(RANGES) as readonly EngineSetting[];

/** A setting as it was written. `refuse` makes the error of why it cannot be. */
export function parseSetting(name: EngineSetting, text: string, refuse: (state: string) => Error): number {
  const [least, most] = RANGES[name];
  const is_bytes = name.includes("bytes");
  const [, digits, unit] = (is_bytes ? /^(\d+)(KiB|MiB|GiB)?$/ : /^(\d+)$/).exec(text) ?? [];
  const value = Number(digits) * (UNITS.get(unit ?? "") ?? 1);
  if (value >= least && value <= most) return value;
  const form = is_bytes ? "a number of bytes, or of KiB, MiB or GiB as in 4GiB," : "a whole number";
  throw refuse(`it must be ${form} from ${least} to ${most}`);
}

const UNITS: ReadonlyMap<string, number> = new Map([
  ["KiB", 2 ** 10],
  ["MiB", 2 ** 20],
  ["GiB", 2 ** 30],
]);
