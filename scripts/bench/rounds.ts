/** Rounds of questions that ours and a peer answer in turns, so that what else the machine does falls on both alike. */

import { type Answer, ask } from "./answer.ts";
import type { Name, Running } from "./contenders.ts";
import { sum } from "./numbers.ts";
import type { Line } from "./report.ts";
import { cpuSeconds, machineCpuSeconds, ownCpuSeconds } from "./server.ts";

// Of one core: less does not show in a median.
export const OTHERS_MAX = 0.1;
export const TRIES_MAX = 4;

/** Answers of one round, how long it took, and how much of a core went to neither server nor this process. */
export interface Round {
  readonly name: Name;
  readonly answers: readonly Answer[];
  readonly duration_ms: number;
  readonly others: number;
}

export type Act = (each: Running) => Promise<readonly Answer[]>;

/** `wanted` rounds of each; those in which something else worked are made again, and the quietest count. */
export async function alternate(all: readonly Running[], wanted: number, act: Act): Promise<Round[]> {
  for (const each of all) await act(each); // warms caches and allocators
  const rounds: Round[] = [];
  const quiet = ({ name }: Running) => rounds.filter((round) => round.name === name && !(round.others > OTHERS_MAX));
  for (let run = 0; run < wanted * TRIES_MAX && all.some((each) => quiet(each).length < wanted); run++) {
    for (const each of all) rounds.push(await measureRound(each, all, act));
  }
  const quietest = rounds.toSorted((a, b) => a.others - b.others);
  return all.flatMap(({ name }) => quietest.filter((round) => round.name === name).slice(0, wanted));
}

async function measureRound(each: Running, all: readonly Running[], act: Act): Promise<Round> {
  const known_s = () => sum([ownCpuSeconds(), ...all.map(({ server }) => cpuSeconds(server) ?? Number.NaN)]);
  const others_s = () => (machineCpuSeconds() ?? Number.NaN) - known_s();
  const [start_ms, before_s] = [performance.now(), others_s()];
  const answers = await act(each);
  const duration_ms = performance.now() - start_ms;
  return { name: each.name, answers, duration_ms, others: (others_s() - before_s) / (duration_ms / 1000) };
}

export function question({ server, model, extra }: Running, prompt: string, tokens_max: number): Promise<Answer> {
  return ask({ url: server.url, model, salt: newSalt(), prompt, tokens_max, extra });
}

let salts = 0;

/** No two texts that begin with one share a block of a cache. */
export function newSalt(): string {
  salts += 1;
  return `${salts * 7919} is your number.`;
}

export function decodeSpeed(answer: Answer | undefined): number {
  if (answer === undefined) return Number.NaN;
  return (answer.completion_tokens - 1) / ((answer.last_token_ms - answer.first_token_ms) / 1000);
}

export function prefillSpeed(answer: Answer | undefined): number {
  return answer === undefined ? Number.NaN : answer.prompt_tokens / (answer.first_token_ms / 1000);
}

export function totalSpeed({ answers, duration_ms }: Round): number {
  return sum(answers.map((answer) => answer.completion_tokens)) / (duration_ms / 1000);
}

export function lineOf(what: string, unit: string, rounds: readonly Round[], pick: (round: Round) => number): Line {
  const samples: Partial<Record<Name, number[]>> = {};
  for (const round of rounds) samples[round.name] = [...(samples[round.name] ?? []), pick(round)];
  return { what, unit, samples };
}
