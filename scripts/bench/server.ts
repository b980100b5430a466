/** A server under measurement: at a URL, or a process of ours from its start to its stop. Knows no protocol. */

import { readFileSync } from "node:fs";
import { sum } from "./numbers.ts";

const STOP_MS_MAX = 10_000;
const CLOCK_TICKS_PER_S = 100; // what Linux counts a process's time in, on every machine it is built for

export interface Server {
  readonly url: string;
  /** null: it was running before, so neither its start nor its memory can be told. */
  readonly process: Bun.Subprocess | null;
}

/** `words` is a command and its arguments; `{port}` in one of them becomes a port that is free now. */
export function startServer(words: readonly string[]): Server {
  const port = freePort();
  const command = words.map((word) => word.replaceAll("{port}", String(port)));
  const started = Bun.spawn(command, { stdin: "ignore", stdout: "ignore", stderr: "ignore" });
  process.once("exit", () => started.kill());
  return { url: `http://127.0.0.1:${port}/v1`, process: started };
}

export async function stopServer(server: Server): Promise<void> {
  if (server.process === null) return;
  server.process.kill("SIGTERM");
  await Promise.race([server.process.exited, Bun.sleep(STOP_MS_MAX)]);
  server.process.kill("SIGKILL");
}

/** Of the process and all its descendants; counts what they share once for each. */
export function residentBytes(server: Server): number | null {
  return overFamily(server, (pid) => {
    const kilobytes = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    return Number(kilobytes ?? 0) * 1024;
  });
}

/** Seconds of one core that the process and its descendants have used so far. */
export function cpuSeconds(server: Server): number | null {
  return overFamily(server, (pid) => {
    const stat = statOf(pid);
    return (Number(stat[11]) + Number(stat[12])) / CLOCK_TICKS_PER_S;
  });
}

export function ownCpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/** Seconds of one core that all processes have used so far; Linux only, null elsewhere. */
export function machineCpuSeconds(): number | null {
  if (process.platform !== "linux") return null;
  const [user = 0, nice = 0, system = 0] = readFileSync("/proc/stat", "utf8").split(/\s+/).slice(1).map(Number);
  return (user + nice + system) / CLOCK_TICKS_PER_S;
}

function freePort(): number {
  const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => undefined } });
  const { port } = listener;
  listener.stop(true);
  return port;
}

/** Linux only; null elsewhere. */
function overFamily(server: Server, measure: (pid: number) => number): number | null {
  if (server.process === null || process.platform !== "linux") return null;
  return sum(familyOf(server.process.pid).map(measure));
}

function familyOf(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number);
  return [pid, ...children.flatMap(familyOf)];
}

/** The fields after the name, which may itself hold spaces and brackets. */
function statOf(pid: number): string[] {
  const text = readFileSync(`/proc/${pid}/stat`, "utf8");
  return text.slice(text.lastIndexOf(")") + 2).split(" ");
}
