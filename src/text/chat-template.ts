/** Renders a model's chat template as transformers would. Knows nothing of tokens. */

import { Environment, Interpreter, parse, tokenize } from "@huggingface/jinja";
import { Failure } from "../core/failure.ts";
import { likePython, pythonStrip } from "./jinja-repairs.ts";
import { strftime } from "./strftime.ts";

/** A message in the role its template knows. */
interface Written {
  readonly role: string;
  readonly content: string;
}

export class ChatTemplate {
  readonly #program: ReturnType<typeof parse>;
  readonly #named_tokens: ReadonlyMap<string, string>;

  /** `named_tokens`: "bos_token" and the like, which the template may print. Throws a `Failure` when it cannot be read. */
  constructor(source: string, named_tokens: ReadonlyMap<string, string>) {
    this.#named_tokens = named_tokens;
    try {
      this.#program = likePython(parse(tokenize(source, { lstrip_blocks: true, trim_blocks: true })));
    } catch (error) {
      throw new Failure("unsupported", `Cannot read the model's chat template: ${sentence(error)}`, "messages");
    }
  }

  /** The text before the answer. `now` is shown in local time. */
  render(messages: readonly Written[], now: Date): string {
    const environment = new Environment();
    for (const [name, value] of Object.entries({ ...GLOBALS, ...this.#variables(messages, now) })) {
      environment.set(name, value);
    }
    try {
      return String(new Interpreter(environment).run(this.#program).value);
    } catch (error) {
      if (error instanceof Failure) throw error;
      throw new Failure("unsupported", `Cannot render the model's chat template: ${sentence(error)}`, "messages");
    }
  }

  #variables(messages: readonly Written[], now: Date): Record<string, unknown> {
    return {
      ...Object.fromEntries(this.#named_tokens),
      messages: messages.map(({ role, content }) => ({ role, content })),
      add_generation_prompt: true,
      // transformers passes None for what a request does not have, and templates are written for that.
      tools: null,
      documents: null,
      strftime_now: (format: unknown) => strftime(now, String(format)),
    };
  }
}

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
  ...pythonStrip,
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
