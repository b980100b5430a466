/** Vectors of texts and scores of pairs on this machine: texts to tokens, and numbers to what a caller gets. Knows no thread. */

import type { LoadedModel } from "../core/backend.ts";
import type { Embeddings, EmbedRequest, RerankRequest, Scores } from "../core/encoding.ts";
import { Failure } from "../core/failure.ts";
import { PRIORITY } from "../core/priority.ts";
import type { EmbeddingPurpose, Purpose, ReadingPurpose } from "../core/purpose.ts";
import type { CatalogModel } from "../schedule/catalog.ts";
import type { Rows } from "../schedule/scheduler.ts";
import type { Lease } from "../schedule/slot.ts";
import type { TextClient } from "../text/client.ts";
import type { EncodedInput, Input, TextModel } from "../text/messages.ts";

/** What reading needs of the house. */
export interface ReadingParts {
  readonly text: TextClient;
  readonly scheduler: Rows;
}

interface Reading<Kind extends ReadingPurpose> {
  readonly model: CatalogModel;
  readonly purpose: Kind;
  readonly loaded: LoadedModel;
  /** Of a text. */
  readonly tokens_max: number;
  readonly signal: AbortSignal;
}

export async function embed(
  { request_id, inputs, prompt_name, dimensions, tokens_max, truncate, keep_s }: EmbedRequest,
  model: CatalogModel,
  parts: ReadingParts,
  signal: AbortSignal,
): Promise<Embeddings> {
  const came_ms = performance.now();
  const { purpose } = await parts.text.load(model.path);
  if (purpose.kind !== "embedding") throw unfit(model.name, purpose, "embed with");
  if (dimensions !== null) checkDimensions(model.name, purpose, dimensions);
  const prompt = promptOf(model.name, purpose, prompt_name);
  using lease = await parts.scheduler.acquire(model, signal, keep_s);
  const load_ms = performance.now() - came_ms;
  const whole = begin(model, purpose, lease, signal);
  const reading = { ...whole, tokens_max: Math.min(whole.tokens_max, tokens_max ?? whole.tokens_max) };
  const prompted = inputs.map((input) => (typeof input === "string" ? prompt + input : input));
  const encoded = await encodeMixed(prompted, reading, parts.text);
  if (!truncate) refuseCut(encoded, reading);
  const asked = { request_id, model: model.name, texts: encoded, priority: PRIORITY.normal };
  const values = await parts.scheduler.read(asked, signal);
  const vectors = values.map((vector) => finish(vector, purpose, dimensions));
  return { vectors, prompt_tokens: count(encoded), load_ms };
}

export async function rerank(
  { request_id, pairs }: RerankRequest,
  model: CatalogModel,
  parts: ReadingParts,
  signal: AbortSignal,
): Promise<Scores> {
  const { purpose } = await parts.text.load(model.path);
  if (purpose.kind !== "reranker") throw unfit(model.name, purpose, "rank with");
  using lease = await parts.scheduler.acquire(model, signal);
  const reading = begin(model, purpose, lease, signal);
  const encoded = await encode(pairs, reading, parts.text);
  const asked = { request_id, model: model.name, texts: encoded, priority: PRIORITY.normal };
  const values = await parts.scheduler.read(asked, signal);
  const activate = purpose.activation === "sigmoid" ? sigmoid : (score: number) => score;
  return { scores: values.map(([score = Number.NaN]) => activate(score)), prompt_tokens: count(encoded) };
}

/** Throws when the model is not one that answers. */
export function mustAnswer(name: string, { purpose }: TextModel): void {
  if (purpose.kind !== "chat") throw unfit(name, purpose, "generate with");
}

/** So that a long request lets others have the text worker between. */
const ENCODED_AT_ONCE = 64;

function begin<Kind extends ReadingPurpose>(
  model: CatalogModel,
  purpose: Kind,
  { loaded }: Lease,
  signal: AbortSignal,
): Reading<Kind> {
  const tokens_max = Math.min(purpose.reading.tokens_max ?? loaded.context_length, loaded.context_length);
  return { model, purpose, loaded, tokens_max, signal };
}

async function encode(
  inputs: readonly Input[],
  { model, tokens_max, signal }: Reading<ReadingPurpose>,
  text: TextClient,
): Promise<EncodedInput[]> {
  const encoded: EncodedInput[] = [];
  for (let first = 0; first < inputs.length; first += ENCODED_AT_ONCE) {
    const some = inputs.slice(first, first + ENCODED_AT_ONCE);
    encoded.push(...(await text.encodeInputs(model.path, some, { tokens_max, signal })));
  }
  return encoded;
}

/** Texts by the model's tokenizer; ids of tokens as they are. */
async function encodeMixed(
  inputs: EmbedRequest["inputs"],
  reading: Reading<EmbeddingPurpose>,
  text: TextClient,
): Promise<EncodedInput[]> {
  const texts = inputs.filter((input) => typeof input === "string");
  const encoded = (await encode(texts, reading, text)).values();
  return inputs.map((input) => {
    if (typeof input !== "string") return fromIds(input, reading);
    return encoded.next().value ?? fromIds([], reading);
  });
}

function fromIds(ids: readonly number[], { loaded, tokens_max }: Reading<ReadingPurpose>): EncodedInput {
  const { model, vocabulary_size } = loaded;
  const foreign = ids.find((id) => id >= vocabulary_size);
  if (foreign !== undefined) {
    const state = `"${model}" has ${vocabulary_size} tokens, found token ${foreign}`;
    throw new Failure("invalid_request", `Cannot use the input: ${state}`, "input");
  }
  const token_ids = ids.slice(0, tokens_max);
  return { token_ids, second_at: token_ids.length, is_cut: token_ids.length < ids.length };
}

function refuseCut(encoded: readonly EncodedInput[], { model, tokens_max }: Reading<ReadingPurpose>): void {
  const index = encoded.findIndex(({ is_cut }) => is_cut);
  if (index < 0) return;
  const state = `it has more than the ${tokens_max} tokens that "${model.name}" reads, and "truncate" is false`;
  throw new Failure("context_overflow", `Cannot embed input ${index}: ${state}`, "input");
}

function promptOf(model: string, { prompt, prompts }: EmbeddingPurpose, name: string | null): string {
  if (name === null) return prompt;
  const named = Object.hasOwn(prompts, name) ? prompts[name] : undefined;
  if (named !== undefined) return named;
  const known = Object.keys(prompts).join(", ") || "none";
  const state = `the files of "${model}" have no prompt "${name}", known: ${known}`;
  throw new Failure("invalid_request", `Cannot use "prompt_name": ${state}`, "prompt_name");
}

function checkDimensions(name: string, { dimensions, width }: EmbeddingPurpose, wanted: number): void {
  if (wanted === width || (wanted < width && (dimensions === "any" || dimensions.includes(wanted)))) return;
  const known = typeof dimensions === "string" ? [] : dimensions;
  const expected = dimensions === "any" ? `an integer from 1 to ${width}` : [...known, width].join(" or ");
  const state = `the vectors of "${name}" may have ${expected} numbers, found ${wanted}`;
  throw new Failure("invalid_request", `Cannot use "dimensions": ${state}`, "dimensions");
}

/** Cut first: what is cut off does not count towards the length. */
function finish(vector: Float32Array, { normalize }: EmbeddingPurpose, dimensions: number | null): Float32Array {
  const cut = vector.subarray(0, dimensions ?? vector.length);
  if (!normalize) return cut;
  const length = Math.sqrt(cut.reduce((sum, value) => sum + value * value, 0));
  return cut.map((value) => value / Math.max(length, LENGTH_MIN));
}

/** A vector of zeros stays one. */
const LENGTH_MIN = 1e-12;

function sigmoid(score: number): number {
  return 1 / (1 + Math.exp(-score));
}

function count(encoded: readonly EncodedInput[]): number {
  return encoded.reduce((sum, { token_ids }) => sum + token_ids.length, 0);
}

const USES: Readonly<Record<Purpose["kind"], string>> = {
  chat: "it is a model that answers: /v1/chat/completions takes it",
  embedding: "it is an embedding model: /v1/embeddings takes it",
  reranker: "it is a reranker: /v1/rerank takes it",
};

function unfit(name: string, { kind }: Purpose, act: string): Failure {
  return new Failure("unsupported", `Cannot ${act} "${name}": ${USES[kind]}`, "model");
}
