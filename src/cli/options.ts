/** Reads the command line. Every option is known to its command, or refused. */

import { parseArgs } from "node:util";
import { optionOf, PLACES } from "../config.ts";
import { parseSetting } from "../core/given-settings.ts";
import { nearest } from "../core/nearest.ts";
import { SETTING_NAMES, SETTINGS, type SettingName, type Settings, settingsOf } from "../core/settings.ts";
import type { Quantization } from "../mlx/ops.ts";
import { formOfMode, MODES } from "../models/quantization.ts";

export class UsageError extends Error {}

const COMMANDS = [
  "serve",
  "run",
  "models",
  "show",
  "fit",
  "pull",
  "quantize",
  "config",
  "audit",
  "credentials",
  "keys",
  "version",
  "help",
] as const;
type Command = (typeof COMMANDS)[number];

export interface Options {
  readonly command: Command;
  /** What follows the command and is not an option. */
  readonly words: readonly string[];
  readonly models: readonly string[];
  readonly json: boolean;
  /** `config` prints every variable in place of what is set. */
  readonly example: boolean;
  /** What a key that `keys` creates may, and where what is asked with it stays. */
  readonly admin: boolean;
  readonly local_only: boolean;
  readonly config_file: string | null;
  /** Tokens that `fit` counts with; null: as many as the model takes. */
  readonly context: number | null;
  /** What `quantize` makes. */
  readonly quantization: Quantization;
  readonly settings: Partial<Settings>;
}

const SETTING_OPTIONS = SETTING_NAMES.map((name) => optionOf(name).slice(2));

/** By which `fit` decides. */
const POOL_OPTIONS = settingsOf("pool").map((name) => optionOf(name).slice(2));

const ALLOWED: Readonly<Record<Command, readonly string[]>> = {
  serve: ["model", "json", "config", ...SETTING_OPTIONS],
  run: ["model", "config"],
  models: ["model", "json", "config"],
  show: ["json", "config"],
  fit: ["json", "config", "context", ...POOL_OPTIONS],
  pull: ["json", "config"],
  quantize: ["json", "config", "bits", "group-size", "mode"],
  config: ["json", "example", "config", ...SETTING_OPTIONS],
  audit: ["json", "config"],
  credentials: ["config"],
  keys: ["json", "config", "admin", "local-only"],
  version: ["json"],
  help: [],
};

/** What those commands do, which is said after them. */
const ACTS: ReadonlyMap<Command, string> = new Map([
  ["audit", "verify"],
  ["credentials", "rotate"],
]);

/** What those commands are told, word by word. */
const OPERANDS: ReadonlyMap<Command, readonly string[]> = new Map([
  ["show", ["MODEL"]],
  ["fit", ["MODEL"]],
  ["pull", ["MODEL"]],
  ["quantize", ["MODEL", "FOLDER"]],
]);

interface OptionKind {
  readonly type: "string" | "boolean";
  readonly multiple?: boolean;
  readonly short?: string;
}

const KINDS: Readonly<Record<string, OptionKind>> = {
  model: { type: "string", multiple: true },
  json: { type: "boolean" },
  config: { type: "string" },
  example: { type: "boolean" },
  admin: { type: "boolean" },
  "local-only": { type: "boolean" },
  context: { type: "string" },
  bits: { type: "string" },
  "group-size": { type: "string" },
  mode: { type: "string" },
  help: { type: "boolean", short: "h" },
  version: { type: "boolean", short: "v" },
  ...Object.fromEntries(SETTING_OPTIONS.map((name) => [name, { type: "string" } as const])),
};

export function parseOptions(words: readonly string[]): Options {
  const { values, positionals } = parse(words);
  const flag = (name: string) => values[name] === true;
  const command = chooseCommand({ help: flag("help"), version: flag("version") }, positionals);
  for (const name of Object.keys(values)) {
    if (name === "help" || name === "version") continue;
    if (!ALLOWED[command].includes(name)) throw new UsageError(`Cannot use --${name} with "${command}"`);
  }
  const models = [values["model"] ?? []].flat().map(String);
  if (command === "run" && models.length > 1) {
    throw new UsageError(`Cannot use --model ${models.length} times with "run": one model answers`);
  }
  const rest = positionals.slice(1);
  checkWords(command, rest);
  return {
    command,
    words: rest,
    models,
    json: flag("json"),
    example: flag("example"),
    admin: flag("admin"),
    local_only: flag("local-only"),
    config_file: typeof values["config"] === "string" ? values["config"] : null,
    context: readCount(values, "context"),
    quantization: readQuantization(values),
    settings: readSettings(values),
  };
}

function checkWords(command: Command, words: readonly string[]): void {
  const act = ACTS.get(command);
  const operands = OPERANDS.get(command);
  if (act !== undefined && (words.length !== 1 || words[0] !== act)) {
    throw new UsageError(`Cannot use "${command}": expected "bunsen ${command} ${act}"`);
  }
  if (operands !== undefined && words.length !== operands.length) {
    throw new UsageError(`Cannot use "${command}": expected "bunsen ${command} ${operands.join(" ")}"`);
  }
  if (command === "keys") checkKeys(words);
  const takes_words = act !== undefined || operands !== undefined || ["keys", "run", "help"].includes(command);
  if (words.length > 0 && !takes_words) throw new UsageError(`Cannot use "${words[0]}": "${command}" takes no words`);
}

function checkKeys([act, ...names]: readonly string[]): void {
  const is_list = act === undefined;
  if (is_list || ((act === "create" || act === "remove") && names.length === 1)) return;
  const expected = '"bunsen keys", "bunsen keys create NAME" or "bunsen keys remove NAME"';
  throw new UsageError(`Cannot use "keys": expected ${expected}`);
}

function readCount(values: Readonly<Record<string, unknown>>, name: string): number | null {
  const text = values[name];
  if (typeof text !== "string") return null;
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new UsageError(`Cannot use --${name} ${text}: it must be a whole number of at least 1`);
}

/** Which forms there are is MLX's matter. */
function readQuantization(values: Readonly<Record<string, unknown>>): Quantization {
  const named = values["mode"] ?? "affine";
  const mode = MODES.find((each) => each === named);
  if (mode === undefined) throw new UsageError(`Cannot use --mode ${named}: it must be one of ${MODES.join(", ")}`);
  const { bits, group_size } = formOfMode(mode);
  return { mode, bits: readCount(values, "bits") ?? bits, group_size: readCount(values, "group-size") ?? group_size };
}

export function help(): void {
  process.stdout.write(`Bunsen, a local AI server in one executable

  bunsen serve            answer on http://127.0.0.1:10240
  bunsen run [PROMPT]     chat in the terminal; a pipe is read as the prompt
  bunsen models           list the models it can serve
  bunsen show MODEL       tell what a model is: family, weights, cache, chat template, what is not supported
  bunsen fit MODEL        tell what it needs, and whether it fits here (--context N: with so many tokens); ORG/NAME asks the hub
  bunsen pull MODEL       fetch it from the hub: ORG/NAME, or ORG/NAME:Q4_K_M for one of several GGUF files
  bunsen quantize MODEL FOLDER  write it quantised, as an MLX folder (--mode affine, mxfp4, mxfp8, nvfp4; --bits 4 --group-size 64)
  bunsen config           print each setting, and where it was set (--example: as variables, to begin with)
  bunsen audit verify     tell whether the record of requests is whole and unchanged
  bunsen keys             list the API keys of callers; keys create NAME (--admin, --local-only) prints one, keys remove NAME
  bunsen credentials rotate  seal the keys of providers with a new secret
  bunsen version          print the version
  bunsen help             print this

  --model PATH|NAME       a model folder, a GGUF file, or a name that "bunsen models" lists
                          (without it the built-in model; serve and models take several)
  --config FILE           settings as TOML or JSON; bunsen.toml in BUNSEN_HOME unless given
  --json                  serve, models, show, fit, pull, config, version: print for programs

  Settings, as options of serve, as variables (BUNSEN_ROWS_MAX and so on) and in the file (rows_max):
${SETTING_NAMES.map(helpOf).join("\n")}

${Object.entries(PLACES).map(paragraph).join("\n")}
${paragraph(["HF_HUB_CACHE, HF_HOME", "where Hugging Face keeps downloaded models"])}
${paragraph(["HF_TOKEN, HF_TOKEN_PATH", "the token for the hub, or the file that holds it, where none is stored"])}
`);
}

const HELP_INDENT = 26;

function helpOf(name: SettingName): string {
  return paragraph([optionOf(name), SETTINGS[name].help]);
}

function paragraph([name, help]: readonly [string, string]): string {
  const title = `  ${name}`;
  return title.length < HELP_INDENT - 1
    ? `${title.padEnd(HELP_INDENT)}${help}`
    : `${title}\n${" ".repeat(HELP_INDENT)}${help}`;
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
  if (kind === undefined) {
    const near = nearest(name, Object.keys(KINDS));
    return near === null ? "there is no such option" : `there is no such option, perhaps --${near} was meant`;
  }
  if (is_repeated && kind.multiple !== true) return "it is given twice";
  if (kind.type === "boolean") return value === undefined ? null : "it takes no value";
  if (value === undefined) return "it needs a value";
  if (value === "") return "its value is empty";
  // More often the value was forgotten than meant to begin so.
  return value.startsWith("-") && inlineValue !== true ? `it needs a value, and "${value}" looks like an option` : null;
}

function chooseCommand(flags: { help: boolean; version: boolean }, words: readonly string[]): Command {
  if (flags.help || (words.length === 0 && !flags.version)) return "help";
  if (flags.version) return "version";
  const command = COMMANDS.find((name) => name === words[0]);
  if (command !== undefined) return command;
  throw new UsageError(`Cannot do "${words[0]}": the commands are ${COMMANDS.join(", ")}`);
}

function readSettings(values: Readonly<Record<string, unknown>>): Partial<Settings> {
  const given = SETTING_NAMES.flatMap((setting) => {
    const option = optionOf(setting);
    const text = values[option.slice(2)];
    if (typeof text !== "string") return [];
    const refuse = (state: string) => new UsageError(`Cannot use ${option} ${text}: ${state}`);
    return [[setting, parseSetting(setting, text, refuse)] as const];
  });
  return Object.fromEntries(given);
}
