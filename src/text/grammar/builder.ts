/** Puts a grammar together: nodes that may name each other before they are written, each terminal once. Knows no schema. */

import { assert } from "../../core/assert.ts";
import type { CompiledGrammar, GrammarNode, Terminal } from "../../core/grammar.ts";
import type { Budget } from "./budget.ts";

/** Still without a key. */
export type Grammar = Omit<CompiledGrammar, "key">;

export class GrammarBuilder {
  readonly #nodes: (GrammarNode | null)[] = [];
  readonly #terminals: Terminal[] = [];
  readonly #places = new Map<string, number>();
  readonly #budget: Budget;

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  /** A node to be written later with `define`. */
  reserve(): number {
    return this.#add(null);
  }

  define(place: number, node: GrammarNode): void {
    assert(this.#nodes[place] === null, "a node is written once");
    this.#nodes[place] = node;
  }

  /** null: no text. */
  terminal(terminal: Terminal | null): number {
    if (terminal === null) return this.choice([]);
    const name = terminal.repeated === null ? terminal.key : `${terminal.key} ${JSON.stringify(terminal.repeated)}`;
    const known = this.#places.get(name);
    if (known !== undefined) return known;
    const place = this.#add({ kind: "terminal", terminal: this.#terminals.push(terminal) - 1 });
    this.#places.set(name, place);
    return place;
  }

  sequence(...parts: number[]): number {
    return this.#add({ kind: "sequence", parts });
  }

  choice(parts: readonly number[]): number {
    return this.#add({ kind: "choice", parts });
  }

  repeat(part: number, min: number, max: number | null): number {
    return this.#add({ kind: "repeat", part, min, max });
  }

  /** Without what has no text; null when nothing is left. */
  finish(root: number): Grammar | null {
    const nodes = this.#nodes.map((node) => {
      assert(node !== null, "every node is written");
      return node;
    });
    const productive = productiveNodes(nodes);
    if (!productive.has(root)) return null;
    const kept = reachable(nodes, root, productive);
    const places = new Map([...kept.keys()].map((node, place) => [node, place]));
    const move = (node: number) => places.get(node) ?? 0;
    const terminals = new Map<number, number>();
    const moved = [...kept.values()].map((node): GrammarNode => {
      switch (node.kind) {
        case "terminal": {
          const terminal = terminals.get(node.terminal) ?? terminals.size;
          terminals.set(node.terminal, terminal);
          return { kind: "terminal", terminal };
        }
        case "repeat":
          return { ...node, part: move(node.part) };
        default:
          return { kind: node.kind, parts: node.parts.map(move) };
      }
    });
    return {
      nodes: moved,
      terminals: [...terminals.keys()].flatMap((place) => this.#terminals[place] ?? []),
      root: move(root),
    };
  }

  #add(node: GrammarNode | null): number {
    this.#budget.spend(10);
    return this.#nodes.push(node) - 1;
  }
}

/** The nodes that have a text. */
function productiveNodes(nodes: readonly GrammarNode[]): ReadonlySet<number> {
  const users: number[][] = nodes.map(() => []);
  for (const [place, node] of nodes.entries()) for (const part of partsOf(node)) users[part]?.push(place);
  const productive = new Set<number>();
  const waiting = nodes.map((_, place) => place);
  for (let place = waiting.pop(); place !== undefined; place = waiting.pop()) {
    const node = nodes[place];
    if (node === undefined || productive.has(place) || !isProductive(node, productive)) continue;
    productive.add(place);
    waiting.push(...(users[place] ?? []));
  }
  return productive;
}

function isProductive(node: GrammarNode, productive: ReadonlySet<number>): boolean {
  switch (node.kind) {
    case "terminal":
      return true;
    case "sequence":
      return node.parts.every((part) => productive.has(part));
    case "choice":
      return node.parts.some((part) => productive.has(part));
    case "repeat":
      return node.min === 0 || productive.has(node.part);
  }
}

function partsOf(node: GrammarNode): readonly number[] {
  if (node.kind === "terminal") return [];
  return node.kind === "repeat" ? [node.part] : node.parts;
}

function reachable(
  nodes: readonly GrammarNode[],
  root: number,
  productive: ReadonlySet<number>,
): ReadonlyMap<number, GrammarNode> {
  const kept = new Map<number, GrammarNode>();
  const waiting = [root];
  for (let place = waiting.pop(); place !== undefined; place = waiting.pop()) {
    const node = nodes[place];
    if (node === undefined || kept.has(place)) continue;
    const pruned = prune(node, productive);
    kept.set(place, pruned);
    waiting.push(...partsOf(pruned));
  }
  return kept;
}

function prune(node: GrammarNode, productive: ReadonlySet<number>): GrammarNode {
  if (node.kind === "choice") return { ...node, parts: node.parts.filter((part) => productive.has(part)) };
  if (node.kind === "repeat" && !productive.has(node.part)) return { kind: "sequence", parts: [] };
  return node;
}
