/** Renders a model's chat template as transformers would. Knows nothing of tokens. */

import { Environment, parse, tokenize } from "@huggingface/jinja";
import { Failure } from "../core/failure.ts";
import { BoundedInterpreter, type Watched, watchedIn } from "./bounded-jinja.ts";
import { likePython, namesIn, pythonFunctions } from "./jinja-repairs.ts";
import { strftime } from "./strftime.ts";

export class ChatTemplate {
  readonly source: string;
  readonly #program: ReturnType<typeof parse>;
  readonly #named_tokens: ReadonlyMap<string, string>;
  readonly #names: ReadonlySet<string>;
  readonly #watched: Watched;
  readonly #steps_max: number;

  /** `named_tokens`: "bos_token" and the like, which the template may print. Throws a `Failure` when it cannot be read. */
  constructor(source: string, named_tokens: ReadonlyMap<string, string>, steps_max = STEPS_MAX) {
    this.source = source;
    this.#steps_max = steps_max;
    this.#named_tokens = named_tokens;
    try {
      if (source.length > SOURCE_LENGTH_MAX) throw new Error(`more than ${SOURCE_LENGTH_MAX} characters`);
      const program = parse(tokenize(source, { lstrip_blocks: true, trim_blocks: true }));
      this.#names = namesIn(program);
      this.#program = likePython(program);
      this.#watched = watchedIn(this.#program);
    } catch (error) {
      throw new Failure("unsupported", `Cannot read the model's chat template: ${sentence(error)}`, "messages");
    }
  }

  /** Whether it speaks of a variable. */
  knows(name: string): boolean {
    return this.#names.has(name);
  }

  /** A caller's option has to be the template's: one that it does not know would do nothing. */
  refuseUnknown(options: Readonly<Record<string, unknown>>): void {
    const own = ["messages", "tools", "documents", "add_generation_prompt", ...this.#named_tokens.keys()];
    for (const name of Object.keys(options)) {
      const state = own.includes(name) ? "it is not an option" : "the model's chat template has no such option";
      if (own.includes(name) || !this.#names.has(name) || name in GLOBALS) {
        throw new Failure("invalid_request", `Cannot use "${name}": ${state}`, `chat_template_kwargs.${name}`);
      }
    }
  }

  /** The text before the answer. `now` is shown in local time; `options` are variables over those that every request has. */
  render(messages: readonly object[], now: Date, options: Readonly<Record<string, unknown>> = {}): string {
    const environment = new Environment();
    const variables = { ...GLOBALS, ...this.#variables(messages, now), ...options };
    for (const [name, value] of Object.entries(variables)) {
      environment.set(name, value);
    }
    try {
      const interpreter = new BoundedInterpreter(environment, this.#watched, this.#steps_max);
      return String(interpreter.run(this.#program).value);
    } catch (error) {
      if (error instanceof Failure) throw error;
      throw new Failure("unsupported", `Cannot render the model's chat template: ${sentence(error)}`, "messages");
    }
  }

  #variables(messages: readonly object[], now: Date): Record<string, unknown> {
    return {
      ...Object.fromEntries(this.#named_tokens),
      messages,
      add_generation_prompt: true,
      // transformers passes None for what a request does not have, and templates are written for that.
      tools: null,
      documents: null,
      strftime_now: (format: unknown) => strftime(now, String(format).slice(0, TIME_FORMAT_LENGTH_MAX)),
    };
  }
}

/** Ten seconds. A conversation of two thousand messages takes a tenth; templates that compare each with each, nearly all. */
const STEPS_MAX = 20_000_000;
/** The longest of a known model is a tenth of it. */
const SOURCE_LENGTH_MAX = 500_000;
/** Beyond any way to write a date. */
const TIME_FORMAT_LENGTH_MAX = 1000;
/** The bound of Jinja's sandbox; a template must not fill the memory. */
const RANGE_MAX = 100_000;
/** Of a template's own words in a failure. */
const MESSAGE_LENGTH_MAX = 500;

const GLOBALS = {
  true: true,
  True: true,
  false: false,
  False: false,
  none: null,
  None: null,
  range,
  raise_exception: raise,
  ...pythonFunctions,
};

/** The template's own refusal of a conversation: roles in a wrong order, most often. */
function raise(message: unknown): never {
  throw new Failure("invalid_request", `Cannot use these messages: ${sentence(message)}`, "messages");
}

function range(first: unknown, second?: unknown, step: unknown = 1): number[] {
  const [start, stop] = second === undefined ? [0, Number(first)] : [Number(first), Number(second)];
  const length = Math.max(0, Math.ceil((stop - start) / Number(step)));
  if (!(length <= RANGE_MAX)) throw new Error(`range of ${length} numbers, at most ${RANGE_MAX}`);
  return Array.from({ length }, (_, index) => start + index * Number(step));
}

function sentence(trouble: unknown): string {
  const text = trouble instanceof Error ? trouble.message : String(trouble);
  return text.replace(/\s+/g, " ").trim().replace(/\.+$/, "").slice(0, MESSAGE_LENGTH_MAX);
}
