/** Reads the command line. Every option is known to its command, or refused. */

import { parseArgs } from "node:util";
import { ENGINE_SETTING_NAMES, type EngineSettings, parseSetting } from "../core/engine-settings.ts";

export class UsageError extends Error {}

const COMMANDS = ["serve", "run", "models", "version", "help"] as const;
type Command = (typeof COMMANDS)[number];

export interface Options {
  readonly command: Command;
  /** What follows the command and is not an option. */
  readonly words: readonly string[];
  readonly models: readonly string[];
  readonly host: string;
  readonly port: number;
  readonly json: boolean;
  readonly engine: Partial<EngineSettings>;
}

const DEFAULT_HOST = "127.0.0.1";
const DEFAULT_PORT = 10_240;

const ALLOWED: Readonly<Record<Command, readonly string[]>> = {
  serve: ["model", "host", "port", "json", ...ENGINE_SETTING_NAMES.map(optionOf)],
  run: ["model"],
  models: ["model", "json"],
  version: ["json"],
  help: [],
};

const KINDS = {
  model: { type: "string", multiple: true },
  host: { type: "string" },
  port: { type: "string" },
  json: { type: "boolean" },
  "rows-max": { type: "string" },
  "decode-gap-ms-target": { type: "string" },
  "chunk-tokens-max": { type: "string" },
  "draft-tokens-max": { type: "string" },
  "kv-bytes-max": { type: "string" },
  "kv-disk-bytes-max": { type: "string" },
  help: { type: "boolean", short: "h" },
  version: { type: "boolean", short: "v" },
} as const;

const HELP = `Bunsen, a local AI server in one executable

  bunsen serve            answer on http://${DEFAULT_HOST}:${DEFAULT_PORT}
  bunsen run [PROMPT]     chat in the terminal; a pipe is read as the prompt
  bunsen models           list the models it can serve
  bunsen version          print the version
  bunsen help             print this

  --model PATH|NAME       a model folder, a GGUF file, or a name that "bunsen models" lists
                          (without it the built-in model; serve and models take several)
  --port NUMBER           serve: the port, ${DEFAULT_PORT} unless given, 0 for any free one
  --host ADDRESS          serve: the address, ${DEFAULT_HOST} unless given
  --json                  serve, models, version: print for programs

  serve also takes, and each may be set for good as BUNSEN_ROWS_MAX and so on:
  --rows-max NUMBER       requests that are answered in one step, 16 unless given; the others wait
  --decode-gap-ms-target NUMBER
                          how long a new prompt may hold up running answers, 100 ms unless given
  --chunk-tokens-max NUMBER
                          tokens of prompts in one step while no answer runs, 512 unless given
  --draft-tokens-max NUMBER
                          tokens guessed from an answer's own text and verified in one step, 0 to 8; none
                          unless given
  --kv-bytes-max BYTES    memory for what was read and answered, of each model (4GiB, say; an eighth of
                          the machine's unless given)
  --kv-disk-bytes-max BYTES
                          disk for what was read before, kept over restarts; 4GiB unless given, 0 for none

  BUNSEN_HOME             where unpacked parts are kept, ~/.bunsen unless set
  BUNSEN_MLX_LIBRARY      an mlx-c library to use in place of the built-in one
  HF_HUB_CACHE, HF_HOME   where Hugging Face keeps downloaded models
`;

export function parseOptions(words: readonly string[]): Options {
  const { values, positionals } = parse(words);
  const command = chooseCommand(values, positionals);
  for (const name of Object.keys(values)) {
    if (name === "help" || name === "version") continue;
    if (!ALLOWED[command].includes(name)) throw new UsageError(`Cannot use --${name} with "${command}"`);
  }
  const models = values.model ?? [];
  if (command === "run" && models.length > 1) {
    throw new UsageError(`Cannot use --model ${models.length} times with "run": one model answers`);
  }
  const rest = positionals.slice(1);
  if (rest.length > 0 && command !== "run" && command !== "help") {
    throw new UsageError(`Cannot use "${rest[0]}": "${command}" takes no words`);
  }
  return {
    command,
    words: rest,
    models,
    host: values.host ?? DEFAULT_HOST,
    port: readPort(values.port),
    json: values.json ?? false,
    engine: readEngine(values),
  };
}

export function help(): void {
  process.stdout.write(HELP);
}

function parse(words: readonly string[]) {
  const config = { args: [...words], allowPositionals: true, options: KINDS };
  // Looked through first, since the parser's own refusals are not sentences of ours.
  const { tokens } = parseArgs({ ...config, strict: false, tokens: true });
  const given = tokens.filter((token) => token.kind === "option");
  for (const [index, option] of given.entries()) {
    const is_repeated = given.slice(0, index).some(({ name }) => name === option.name);
    const state = fault(option, is_repeated);
    if (state !== null) throw new UsageError(`Cannot use ${option.rawName}: ${state}; see "bunsen help"`);
  }
  return parseArgs(config);
}

interface GivenOption {
  readonly name: string;
  readonly value?: string | undefined;
  /** Written behind "=". */
  readonly inlineValue?: boolean | undefined;
}

function fault({ name, value, inlineValue }: GivenOption, is_repeated: boolean): string | null {
  const kind = Object.entries(KINDS).find(([known]) => known === name)?.[1];
  if (kind === undefined) return "there is no such option";
  if (is_repeated && !("multiple" in kind)) return "it is given twice";
  if (kind.type === "boolean") return value === undefined ? null : "it takes no value";
  if (value === undefined) return "it needs a value";
  if (value === "") return "its value is empty";
  // More often the value was forgotten than meant to begin so.
  return value.startsWith("-") && inlineValue !== true ? `it needs a value, and "${value}" looks like an option` : null;
}

function chooseCommand(flags: { help?: boolean; version?: boolean }, words: readonly string[]): Command {
  if (flags.help === true || (words.length === 0 && flags.version !== true)) return "help";
  if (flags.version === true) return "version";
  const command = COMMANDS.find((name) => name === words[0]);
  if (command !== undefined) return command;
  throw new UsageError(`Cannot do "${words[0]}": the commands are ${COMMANDS.join(", ")}`);
}

function optionOf(setting: string): string {
  return setting.replaceAll("_", "-");
}

function readEngine(values: Readonly<Record<string, unknown>>): Partial<EngineSettings> {
  const given = ENGINE_SETTING_NAMES.flatMap((setting) => {
    const text = values[optionOf(setting)];
    if (typeof text !== "string") return [];
    const refuse = (state: string) => new UsageError(`Cannot use --${optionOf(setting)} ${text}: ${state}`);
    return [[setting, parseSetting(setting, text, refuse)] as const];
  });
  return Object.fromEntries(given);
}

function readPort(text: string | undefined): number {
  if (text === undefined) return DEFAULT_PORT;
  const port = Number(text);
  if (/^\d+$/.test(text) && port <= 65_535) return port;
  throw new UsageError(`Cannot use --port ${text}: it must be a number from 0 to 65535`);
}
