/** Answers on this machine: prompt to tokens, tokens to text. Knows no wire format and no thread. */

import type { Backend, LoadedModel } from "../core/backend.ts";
import type { Embeddings, EmbedRequest, RerankRequest, Scores } from "../core/encoding.ts";
import { Failure } from "../core/failure.ts";
import type { GenerationEvent, GenerationRequest, Predicted, Prompt, RowStep, Sampling } from "../core/generation.ts";
import type { CompiledGrammar, Constraint, ThoughtBound } from "../core/grammar.ts";
import { interleave } from "../core/interleave.ts";
import { mix } from "../core/mix.ts";
import type { PrefixCache, PrefixExplanation } from "../core/prefix.ts";
import type { PromptSettings } from "../core/settings.ts";
import type { TokenDesk } from "../core/tokens.ts";
import type { Catalog } from "../schedule/catalog.ts";
import type { Rows } from "../schedule/scheduler.ts";
import type { Lease } from "../schedule/slot.ts";
import type { GrammarClient, TextClient } from "../text/client.ts";
import { spellingOf } from "../text/marked-tokens.ts";
import type { AnswerForm, Vocabulary } from "../text/messages.ts";
import { steadied } from "../text/volatile-lines.ts";
import { ChatReader, plainReader } from "./answer.ts";
import { type ChoiceStep, charactersIn, checkedSteps, choiceSteps, Words } from "./choice.ts";
import { echoed, PromptScores } from "./echo.ts";
import { inWords } from "./prefix.ts";
import { promptText, readPrompt } from "./prompt.ts";
import { embed, mustAnswer, type ReadingParts, rerank } from "./reading.ts";
import { answerRules, type Check, checksOf, parametersOf } from "./rules.ts";
import { resolveSampling } from "./sampling.ts";
import { applyTemplate, detokenize, type TokenModel, tokenize, tokenizeChat } from "./tokens.ts";

export interface Randomness {
  readonly seed: () => number;
  /** For a call whose model gives none: nine letters and digits, which every template takes. */
  readonly callId: () => string;
}

export class LocalBackend implements Backend, PrefixCache, TokenDesk {
  readonly #catalog: Catalog;
  readonly #text: TextClient;
  /** A worker of its own: a large schema must not keep texts waiting. */
  readonly #grammars: GrammarClient;
  readonly #scheduler: Rows;
  readonly #random: Randomness;
  readonly #settings: PromptSettings;

  constructor(
    catalog: Catalog,
    workers: { readonly text: TextClient; readonly grammars: GrammarClient },
    scheduler: Rows,
    random: Randomness,
    /** Read as each request comes. */
    settings: PromptSettings,
  ) {
    this.#catalog = catalog;
    this.#text = workers.text;
    this.#grammars = workers.grammars;
    this.#scheduler = scheduler;
    this.#random = random;
    this.#settings = settings;
  }

  async explain(request: GenerationRequest, signal: AbortSignal): Promise<PrefixExplanation> {
    using lease = await this.#acquire(request, signal);
    const { model, adapter, text, prompt_ids } = await this.#read(request, bounded(lease.loaded, request), signal);
    const match = await this.#scheduler.explain({ model: model.name, adapter, prompt_ids });
    return inWords(match, prompt_ids, text.vocabulary);
  }

  async count(request: GenerationRequest, signal: AbortSignal): Promise<number> {
    using lease = await this.#acquire(request, signal);
    return (await this.#read(request, bounded(lease.loaded, request), signal)).prompt_ids.length;
  }

  async tokenize(model: string, text: string, around: boolean, signal: AbortSignal) {
    return await tokenize(this.#tokens(model, null), text, around, signal);
  }

  async tokenizeChat(request: GenerationRequest, signal: AbortSignal) {
    return await tokenizeChat(this.#tokens(request.model, request.adapter), this.#steady(request), signal);
  }

  async detokenize(model: string, token_ids: readonly number[], signal: AbortSignal) {
    return await detokenize(this.#tokens(model, null), token_ids, signal);
  }

  async applyTemplate(request: GenerationRequest, signal: AbortSignal) {
    return await applyTemplate(this.#tokens(request.model, request.adapter), this.#steady(request), signal);
  }

  async embed(request: EmbedRequest, signal: AbortSignal): Promise<Embeddings> {
    return await embed(request, this.#catalog.find(request.model), this.#reading, signal);
  }

  async rerank(request: RerankRequest, signal: AbortSignal): Promise<Scores> {
    return await rerank(request, this.#catalog.find(request.model), this.#reading, signal);
  }

  async *generate(request: GenerationRequest, signal: AbortSignal): AsyncGenerator<GenerationEvent, void, undefined> {
    const came_ms = performance.now();
    using lease = await this.#acquire(request, signal);
    const ready_ms = performance.now();
    const loaded = bounded(lease.loaded, request);
    const { model, adapter, text, prompt_ids, form, lines } = await this.#read(request, loaded, signal);
    const room = loaded.context_length - prompt_ids.length;
    const rules = answerRules(request, form);
    const { constraint, checked_tools } = rules;
    for (const tool of checked_tools) await this.#compile(parametersOf(tool), text.vocabulary, signal);
    const grammar = constraint === null ? null : await this.#compile(constraint, text.vocabulary, signal);
    const thought = form === null ? null : thoughtBound(form, grammar !== null);
    const row = {
      request_id: request.request_id,
      model: model.name,
      adapter,
      grammar,
      thought,
      tokens: grammar === null && thought === null ? null : spellingOf(text.vocabulary),
      prompt_ids,
      ...(await this.#predicted(request.prediction, model.path, room, signal)),
      sampling: resolveSampling([request.sampling, text.sampling, model.sampling], this.#random.seed()),
      logprobs: request.logprobs,
      prompt_logprobs: request.echo && request.logprobs !== null,
      tokens_max: Math.max(1, Math.min(request.tokens_max ?? room, room)),
      tokens_min: request.tokens_min,
      stop_token_ids: [...(request.ignore_eos ? [] : text.stop_token_ids), ...request.stop_token_ids],
      priority: request.priority,
    };
    const left = new AbortController();
    const ended = AbortSignal.any([signal, left.signal]);
    const echo = request.echo ? promptText(request.prompt, text.vocabulary) : "";
    const drawn: number[] = [];
    const generate = (choice: number) => {
      const steps = this.#scheduler.generate(withChoice(row, choice), ended);
      return request.tokens_max === 0 ? unsaid(steps) : steps;
    };
    const choices = Array.from({ length: request.choices }, (_, choice) => {
      const at_start = startsText(request.prompt);
      const spoken = form === null ? NONE_SPOKEN : spokenMarks(text.vocabulary);
      const words = new Words(text.vocabulary, { at_start, spoken }, request.stop, charactersIn(echo));
      const reader = isPlain(request, form)
        ? plainReader(choice)
        : new ChatReader(choice, request, form, this.#random.callId);
      const scores = new PromptScores();
      const answered = choiceSteps(noted(scores.keep(generate(choice)), choice === 0 ? drawn : null), words, reader);
      const reports = () => (row.prompt_logprobs ? scores.reports(prompt_ids, text.vocabulary) : []);
      const steps = echo === "" ? answered : echoed(answered, choice, echo, reports);
      if (constraint === null && checked_tools.length === 0) return steps;
      return checkedSteps(steps, (answer) => this.#check(checksOf(rules, answer), signal));
    });
    try {
      const token_ids = () => (request.tells_tokens ? [...prompt_ids, ...drawn] : null);
      yield* timed(answerEvents(choices, startOf(prompt_ids.length, lines)), { came_ms, ready_ms, token_ids });
    } finally {
      left.abort(); // of several choices others may still run
    }
  }

  /** What is beyond the room of the answer cannot come true. */
  async #predicted(prediction: string | null, path: string, tokens_max: number, signal: AbortSignal) {
    if (prediction === null) return {};
    const predicted_ids = await this.#text.encodeText(path, prediction, { tokens_max, signal }, false);
    return { predicted_ids };
  }

  async #compile(constraint: Constraint, vocabulary: Vocabulary, signal: AbortSignal): Promise<CompiledGrammar> {
    try {
      return await this.#grammars.compile(constraint, vocabulary, signal);
    } catch (error) {
      if (error instanceof Failure) throw new Failure(error.kind, error.message, constraint.parameter);
      throw error;
    }
  }

  async #check(checks: readonly Check[], signal: AbortSignal): Promise<void> {
    for (const { constraint, text } of checks) {
      const departure = await this.#grammars.check(constraint, text, signal);
      if (departure === null) continue;
      throw new Failure("engine", `Cannot finish the answer: it is not what was asked: ${departure}`);
    }
  }

  #tokens(name: string, adapter: string | null): TokenModel {
    const { model } = this.#catalog.choose(name, adapter);
    return { name: model.name, path: model.path, text: this.#text };
  }

  #steady(request: GenerationRequest): GenerationRequest {
    return { ...request, prompt: steadyPrompt(request.prompt, this.#settings).prompt };
  }

  get #reading(): ReadingParts {
    return { text: this.#text, scheduler: this.#scheduler };
  }

  async #acquire(request: GenerationRequest, signal: AbortSignal): Promise<Lease> {
    const { model } = this.#catalog.choose(request.model, request.adapter);
    refuseImages(request.prompt, model.name);
    mustAnswer(model.name, await this.#text.load(model.path));
    return await this.#scheduler.acquire(model, signal, request.keep_s);
  }

  async #read(request: GenerationRequest, loaded: LoadedModel, signal: AbortSignal) {
    const { model, adapter } = this.#catalog.choose(request.model, request.adapter);
    const text = await this.#text.load(model.path);
    refuseForeign(request, loaded);
    const place = { path: model.path, loaded, text };
    const { prompt, lines } = steadyPrompt(request.prompt, this.#settings);
    return { model, adapter, text, lines, ...(await readPrompt({ ...request, prompt }, place, this.#text, signal)) };
  }
}

function steadyPrompt(prompt: Prompt, { volatile_lines }: PromptSettings): { readonly prompt: Prompt; lines: number } {
  if (prompt.kind !== "messages") return { prompt, lines: 0 };
  const { messages, lines } = steadied(prompt.messages, volatile_lines);
  return { prompt: { ...prompt, messages }, lines };
}

type Start = Extract<GenerationEvent, { kind: "start" }>;

function startOf(prompt_tokens: number, lines: number): Start {
  return { kind: "start", prompt_tokens, ...(lines === 0 ? {} : { steadied_lines: lines }) };
}

/** Not before the engine has begun: what fails until then is still told as a failure and not as a broken answer. */
async function* answerEvents(
  choices: readonly AsyncIterable<ChoiceStep>[],
  start: Start,
): AsyncGenerator<GenerationEvent, void, undefined> {
  const { prompt_tokens } = start;
  let started = false;
  let cached_tokens = prompt_tokens;
  let completion_tokens = 0;
  let reasoning_tokens: number | null = null;
  let predicted: Predicted | undefined;
  for await (const [choice, step] of interleave(choices)) {
    if (!started) yield start;
    started = true;
    cached_tokens = Math.min(cached_tokens, step.cached_tokens); // what one choice computed the others only share
    completion_tokens += step.tokens_drawn;
    yield* step.said;
    const { finish } = step;
    if (finish === null) continue;
    predicted = both(predicted, step.predicted);
    if (step.reasoning_tokens !== null) reasoning_tokens = (reasoning_tokens ?? 0) + step.reasoning_tokens;
    yield { kind: "finish", choice, ...finish };
  }
  const told = predicted === undefined ? {} : { predicted };
  yield { kind: "end", usage: { prompt_tokens, cached_tokens, completion_tokens, reasoning_tokens, ...told } };
}

function both(one: Predicted | undefined, two: Predicted | undefined): Predicted | undefined {
  if (one === undefined || two === undefined) return one ?? two;
  return {
    accepted_tokens: one.accepted_tokens + two.accepted_tokens,
    rejected_tokens: one.rejected_tokens + two.rejected_tokens,
  };
}

/** Of an answer without tokens, which is asked for to have its prompt read: the engine draws one, and nobody is told. */
async function* unsaid(row: AsyncIterable<RowStep>): AsyncGenerator<RowStep, void, undefined> {
  for await (const { finish, ...step } of row) {
    yield { ...step, token_ids: [], logprobs: [], finish: finish === null ? null : "length" };
  }
}

/** Keeps the tokens of what passes. */
async function* noted(row: AsyncIterable<RowStep>, drawn: number[] | null): AsyncGenerator<RowStep, void, undefined> {
  for await (const step of row) {
    drawn?.push(...step.token_ids);
    yield step;
  }
}

interface Told {
  readonly came_ms: number;
  readonly ready_ms: number;
  /** Of prompt and answer; null: nobody asks. */
  readonly token_ids: () => readonly number[] | null;
}

/** Tells with the end where the time went, and what is asked of tokens. */
async function* timed(
  events: AsyncIterable<GenerationEvent>,
  { came_ms, ready_ms, token_ids }: Told,
): AsyncGenerator<GenerationEvent, void, undefined> {
  let started_ms = ready_ms;
  for await (const event of events) {
    if (event.kind === "start") started_ms = performance.now();
    if (event.kind !== "end") yield event;
    else {
      const load_ms = ready_ms - came_ms;
      const prompt_ms = started_ms - ready_ms;
      const timing = { load_ms, prompt_ms, answer_ms: performance.now() - started_ms };
      const ids = token_ids();
      yield { ...event, timing, ...(ids === null ? {} : { token_ids: ids }) };
    }
  }
}

/** The first choice has the request's own seed: it is the same however many there are. */
function withChoice<Row extends { readonly sampling: Sampling }>(row: Row, choice: number): Row {
  const { seed } = row.sampling;
  return { ...row, sampling: { ...row.sampling, seed: choice === 0 ? seed : mix(seed, choice) } };
}

function refuseImages(prompt: Prompt, model: string): void {
  if (!("messages" in prompt)) return;
  if (!prompt.messages.some((message) => "images" in message && message.images !== undefined)) return;
  throw new Failure("unsupported", `Cannot look at images: model "${model}" reads text only`, "messages");
}

/** Ids that the model's logits do not have. */
function refuseForeign({ sampling, stop_token_ids }: GenerationRequest, { model, vocabulary_size }: LoadedModel): void {
  const biased = (sampling.logit_bias ?? []).map(({ token_id }) => token_id);
  const named = { logit_bias: biased, stop_token_ids };
  for (const [parameter, ids] of Object.entries(named)) {
    const foreign = ids.find((id) => id >= vocabulary_size);
    if (foreign === undefined) continue;
    const state = `"${model}" has ${vocabulary_size} tokens, found token ${foreign}`;
    throw new Failure("invalid_request", `Cannot use "${parameter}": ${state}`, parameter);
  }
}

/** The model with the context that this request may have of it. */
function bounded(loaded: LoadedModel, { context_tokens_max }: GenerationRequest): LoadedModel {
  return { ...loaded, context_length: Math.min(loaded.context_length, context_tokens_max ?? loaded.context_length) };
}

/** A chat's answer begins a text unless the chat has begun it; a completion continues one unless there is none. */
function startsText(prompt: Prompt): boolean {
  if (prompt.kind === "messages") return prompt.ends !== "begun";
  return prompt.kind === "continued" || (prompt.kind === "text" && prompt.text === "");
}

const NONE_SPOKEN: ReadonlyMap<number, Uint8Array> = new Map();

/** The control tokens that a chat's answer is told apart by: their names are read, which otherwise are no text. */
function spokenMarks({ names, marks }: Vocabulary): ReadonlyMap<number, Uint8Array> {
  const spoken = [...marks].filter(([id]) => names.has(id));
  return new Map(spoken.map(([id, name]) => [id, new TextEncoder().encode(name)]));
}

/** What has a form of its own, and nothing else with it, is not looked into: it begins where the answer begins. */
function isPlain({ constraint, tools }: GenerationRequest, form: AnswerForm | null): form is null {
  if (form === null) return true;
  const { format, thought } = form;
  return constraint !== null && tools.length === 0 && thought === null && format.content === null;
}

function thoughtBound({ thought }: AnswerForm, has_form: boolean): ThoughtBound | null {
  if (thought === null || thought.tokens_max === null) return null;
  const { open, close, is_open, tokens_max, end_ids, content_ids } = thought;
  return { open, close, is_open, tokens_max, end_ids: has_form ? end_ids : [...end_ids, ...content_ids] };
}
