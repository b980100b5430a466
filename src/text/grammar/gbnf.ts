/** Reads grammars in the notation of llama.cpp (GBNF), and in the EBNF of W3C that is written the same way. */

import { Failure } from "../../core/failure.ts";
import type { Budget } from "./budget.ts";
import type { GrammarBuilder } from "./builder.ts";
import { ANY_CHARACTER, type Expression, literal, outside, type Ranges, united } from "./expression.ts";
import { matching } from "./language.ts";
import { type Alphabet, plainTerminal } from "./terminals.ts";

/** `root` is where a text begins. */
export function gbnfNode(source: string, builder: GrammarBuilder, alphabet: Alphabet, budget: Budget): number {
  const rules = new Reader(source).rules();
  return new Writer(rules, builder, alphabet, budget).write();
}

type Rule =
  | { readonly kind: "characters"; readonly expression: Expression }
  | { readonly kind: "name"; readonly name: string }
  | { readonly kind: "sequence" | "choice"; readonly parts: readonly Rule[] }
  | { readonly kind: "repeat"; readonly part: Rule; readonly min: number; readonly max: number | null };

// More copies of a part than this are better written otherwise.
const REPEAT_MAX = 10_000;

const ESCAPES: ReadonlyMap<string, string> = new Map([
  ["n", "\n"],
  ["r", "\r"],
  ["t", "\t"],
]);

function refuse(state: string): Failure {
  return new Failure("invalid_request", `Cannot enforce the grammar: ${state}`);
}

class Reader {
  readonly #source: string;
  #at = 0;

  constructor(source: string) {
    this.#source = source;
  }

  rules(): ReadonlyMap<string, Rule> {
    const rules = new Map<string, Rule>();
    this.#skip();
    while (this.#at < this.#source.length) {
      const name = this.#take(NAME);
      this.#skip();
      if (name === null || this.#take(/::?=/y) === null) throw this.#error("a rule is `name ::= …`");
      if (rules.has(name)) throw refuse(`it has two rules "${name}"`);
      rules.set(name, this.#choice());
      this.#take(/;/y);
      this.#skip();
    }
    return rules;
  }

  #choice(): Rule {
    const parts = [this.#sequence()];
    for (this.#skip(); this.#take(/\|/y) !== null; this.#skip()) parts.push(this.#sequence());
    return { kind: "choice", parts };
  }

  #sequence(): Rule {
    const parts: Rule[] = [];
    for (;;) {
      this.#skip();
      if (this.#isRuleHead()) break;
      const part = this.#part();
      if (part === null) break;
      parts.push(this.#repeated(part));
    }
    return { kind: "sequence", parts };
  }

  #isRuleHead(): boolean {
    RULE_HEAD.lastIndex = this.#at;
    return RULE_HEAD.test(this.#source);
  }

  #part(): Rule | null {
    const name = this.#take(NAME);
    if (name !== null) return { kind: "name", name };
    const quote = this.#take(/["']/y);
    if (quote !== null) return { kind: "characters", expression: literal(this.#quoted(quote)) };
    if (this.#take(/\[/y) !== null) return { kind: "characters", expression: this.#characterClass() };
    if (this.#take(/\./y) !== null) return { kind: "characters", expression: ANY_CHARACTER };
    if (this.#take(/\(/y) === null) return null;
    const inner = this.#choice();
    this.#skip();
    if (this.#take(/\)/y) === null) throw this.#error('"(" has no end');
    return inner;
  }

  #repeated(part: Rule): Rule {
    const sign = this.#take(/[*+?]|\{\s*\d+\s*(?:,\s*\d*\s*)?\}/y);
    if (sign === null) return part;
    const [min, max] = REPEATS.get(sign) ?? boundsOf(sign);
    if (Math.max(min, max ?? 0) > REPEAT_MAX) throw this.#error(`more than ${REPEAT_MAX} repetitions`);
    if (max !== null && max < min) throw this.#error(`the repetition ${sign}`);
    return this.#repeated({ kind: "repeat", part, min, max });
  }

  #quoted(quote: string): string {
    let text = "";
    for (let next = this.#character(); next !== quote; next = this.#character()) {
      text += next === "\\" ? this.#escaped() : next;
    }
    return text;
  }

  #characterClass(): Expression {
    const negated = this.#take(/\^/y) !== null;
    const ranges: [number, number][] = [];
    for (let next = this.#character(); next !== "]"; next = this.#character()) {
      const low = (next === "\\" ? this.#escaped() : next).codePointAt(0) ?? 0;
      if (this.#take(/-(?!\])/y) === null) {
        ranges.push([low, low]);
        continue;
      }
      const end = this.#character();
      const high = (end === "\\" ? this.#escaped() : end).codePointAt(0) ?? 0;
      if (high < low) throw this.#error("a range that runs backwards");
      ranges.push([low, high]);
    }
    const all: Ranges = united(ranges);
    return { kind: "set", ranges: negated ? outside(all) : all };
  }

  #escaped(): string {
    const digits = this.#take(/x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}/y);
    if (digits !== null) {
      const code = Number.parseInt(digits.slice(1), 16);
      if (code > 0x10ffff) throw this.#error("an escape beyond Unicode");
      return String.fromCodePoint(code);
    }
    const character = this.#character();
    return ESCAPES.get(character) ?? character;
  }

  #character(): string {
    const code = this.#source.codePointAt(this.#at);
    if (code === undefined) throw this.#error("it ends too soon");
    const character = String.fromCodePoint(code);
    this.#at += character.length;
    return character;
  }

  /** `form` is sticky. */
  #take(form: RegExp): string | null {
    form.lastIndex = this.#at;
    const found = form.exec(this.#source)?.[0] ?? null;
    this.#at += found?.length ?? 0;
    return found;
  }

  /** White space and comments. */
  #skip(): void {
    this.#take(/(?:\s+|#[^\n]*|\/\/[^\n]*)*/y);
  }

  #error(state: string): Failure {
    const line = this.#source.slice(0, this.#at).split("\n").length;
    return refuse(`line ${line}: ${state}`);
  }
}

const NAME = /[A-Za-z_][\w-]*/y;
const RULE_HEAD = /[A-Za-z_][\w-]*\s*::?=/y;
const REPEATS: ReadonlyMap<string, readonly [number, number | null]> = new Map([
  ["*", [0, null]],
  ["+", [1, null]],
  ["?", [0, 1]],
]);

function boundsOf(sign: string): readonly [number, number | null] {
  const [min = "", max] = sign.slice(1, -1).split(",");
  return [Number(min), max === undefined ? Number(min) : max.trim() === "" ? null : Number(max)];
}

/** Each part that does not lead back to itself becomes one terminal: its tokens are then known at once. */
class Writer {
  readonly #rules: ReadonlyMap<string, Rule>;
  readonly #builder: GrammarBuilder;
  readonly #alphabet: Alphabet;
  readonly #budget: Budget;
  readonly #nodes = new Map<string, number>();
  readonly #recursive: ReadonlySet<string>;

  constructor(rules: ReadonlyMap<string, Rule>, builder: GrammarBuilder, alphabet: Alphabet, budget: Budget) {
    this.#rules = rules;
    this.#alphabet = alphabet;
    this.#budget = budget;
    this.#builder = builder;
    this.#recursive = recursiveRules(rules);
    refuseLeftRecursion(rules);
  }

  write(): number {
    if (!this.#rules.has("root")) throw refuse('it has no rule "root"');
    return this.#node({ kind: "name", name: "root" });
  }

  #node(rule: Rule): number {
    const expression = this.#expression(rule);
    if (expression !== null) {
      return this.#builder.terminal(plainTerminal(matching(expression, this.#budget), this.#alphabet, this.#budget));
    }
    switch (rule.kind) {
      case "name":
        return this.#named(rule.name);
      case "sequence":
        return this.#builder.sequence(...rule.parts.map((part) => this.#node(part)));
      case "choice":
        return this.#builder.choice(rule.parts.map((part) => this.#node(part)));
      case "repeat":
        return this.#builder.repeat(this.#node(rule.part), rule.min, rule.max);
      case "characters":
        throw refuse("its characters are no expression");
    }
  }

  #named(name: string): number {
    const known = this.#nodes.get(name);
    if (known !== undefined) return known;
    const node = this.#builder.reserve();
    this.#nodes.set(name, node);
    this.#builder.define(node, { kind: "choice", parts: [this.#node(this.#rule(name))] });
    return node;
  }

  #rule(name: string): Rule {
    const rule = this.#rules.get(name);
    if (rule === undefined) throw refuse(`it has no rule "${name}"`);
    return rule;
  }

  /** null: the rule leads back to itself, or may be long. */
  #expression(rule: Rule): Expression | null {
    this.#budget.spend(1);
    switch (rule.kind) {
      case "characters":
        return rule.expression;
      case "name":
        return this.#recursive.has(rule.name) ? null : this.#expression(this.#rule(rule.name));
      case "repeat": {
        const part = this.#expression(rule.part);
        return part === null ? null : { kind: "repeat", part, min: rule.min, max: rule.max };
      }
      default: {
        const parts = rule.parts.map((part) => this.#expression(part));
        const known = parts.filter((part) => part !== null);
        return known.length === parts.length ? { kind: rule.kind, parts: known } : null;
      }
    }
  }
}

function namesIn(rule: Rule): readonly string[] {
  switch (rule.kind) {
    case "characters":
      return [];
    case "name":
      return [rule.name];
    case "repeat":
      return namesIn(rule.part);
    default:
      return rule.parts.flatMap(namesIn);
  }
}

/** The rules from which a rule that leads back to itself is reached. */
function recursiveRules(rules: ReadonlyMap<string, Rule>): ReadonlySet<string> {
  const uses = new Map([...rules].map(([name, rule]) => [name, namesIn(rule)]));
  const regular = new Set<string>();
  for (let grew = true; grew; ) {
    grew = false;
    for (const [name, used] of uses) {
      if (regular.has(name) || !used.every((other) => regular.has(other) || !rules.has(other))) continue;
      regular.add(name);
      grew = true;
    }
  }
  return new Set([...rules.keys()].filter((name) => !regular.has(name)));
}

function refuseLeftRecursion(rules: ReadonlyMap<string, Rule>): void {
  const empty = emptyRules(rules);
  const done = new Set<string>();
  const open = new Set<string>();
  const visit = (name: string): void => {
    if (done.has(name)) return;
    if (open.has(name)) throw refuse(`the rule "${name}" begins with itself`);
    open.add(name);
    const rule = rules.get(name);
    for (const first of rule === undefined ? [] : firstNames(rule, empty)) visit(first);
    open.delete(name);
    done.add(name);
  };
  for (const name of rules.keys()) visit(name);
}

function emptyRules(rules: ReadonlyMap<string, Rule>): ReadonlySet<string> {
  const empty = new Set<string>();
  for (let grew = true; grew; ) {
    grew = false;
    for (const [name, rule] of rules) {
      if (empty.has(name) || !mayBeEmpty(rule, empty)) continue;
      empty.add(name);
      grew = true;
    }
  }
  return empty;
}

function mayBeEmpty(rule: Rule, empty: ReadonlySet<string>): boolean {
  switch (rule.kind) {
    case "characters":
      return rule.expression.kind === "sequence" && rule.expression.parts.length === 0;
    case "name":
      return empty.has(rule.name);
    case "sequence":
      return rule.parts.every((part) => mayBeEmpty(part, empty));
    case "choice":
      return rule.parts.some((part) => mayBeEmpty(part, empty));
    case "repeat":
      return rule.min === 0 || mayBeEmpty(rule.part, empty);
  }
}

/** The rules that a text of this one may begin with. */
function firstNames(rule: Rule, empty: ReadonlySet<string>): string[] {
  switch (rule.kind) {
    case "characters":
      return [];
    case "name":
      return [rule.name];
    case "repeat":
      return firstNames(rule.part, empty);
    case "choice":
      return rule.parts.flatMap((part) => firstNames(part, empty));
    case "sequence": {
      const last = rule.parts.findIndex((part) => !mayBeEmpty(part, empty));
      return rule.parts.slice(0, last < 0 ? undefined : last + 1).flatMap((part) => firstNames(part, empty));
    }
  }
}
