/** Figures of each contender, side by side. Knows not how they came about. */

import type { Name, Running } from "./contenders.ts";
import { median, table } from "./numbers.ts";
import { residentBytes } from "./server.ts";

/** One figure of each contender, from all its rounds. */
export interface Line {
  readonly what: string;
  readonly unit: string;
  readonly samples: Partial<Record<Name, readonly number[]>>;
}

export function memory(all: readonly Running[], what: string): Line {
  return { what, unit: "MB", samples: samplesOf(all, ({ server }) => (residentBytes(server) ?? Number.NaN) / 1e6) };
}

export function samplesOf(all: readonly Running[], pick: (each: Running) => number): Line["samples"] {
  return Object.fromEntries(all.map((each) => [each.name, [pick(each)]]));
}

export function print(all: readonly Running[], lines: readonly Line[], json: boolean): void {
  const told = lines.filter(isTold);
  if (json) {
    const servers = Object.fromEntries(all.map(({ name, server, model }) => [name, { url: server.url, model }]));
    process.stdout.write(`${JSON.stringify({ servers, lines: told })}\n`);
    return;
  }
  for (const { name, server, model } of all) process.stdout.write(`${name}: ${model} at ${server.url}\n`);
  const names = all.map(({ name }) => name);
  const ratio = (line: Line) => median(line.samples.ours ?? []) / median(line.samples.peer ?? []);
  const compares = names.length > 1;
  const rows = told.map((line) => [
    line.what,
    ...names.map((name) => figure(median(line.samples[name] ?? [Number.NaN]))),
    line.unit,
    ...(compares ? [isDetail(line) ? "" : figure(ratio(line))] : []),
  ]);
  process.stdout.write(`\n${table([["", ...names, "", ...(compares ? ["ours / peer"] : [])], ...rows])}`);
}

/** An indented line tells under what conditions the others came about; nobody is better in it. */
function isDetail({ what }: Line): boolean {
  return what.startsWith(" ");
}

/** Of a server that ran before, neither memory nor time can be told. */
function isTold({ samples }: Line): boolean {
  return Object.values(samples).some((of) => of.some(Number.isFinite));
}

function figure(value: number): string {
  if (!Number.isFinite(value)) return "–";
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(value < 10 ? 2 : 1);
}
