/** Measures what a gateway adds in front of a provider that answers at once: ours, and any other at a URL. */

import { join } from "node:path";
import { parseArgs } from "node:util";
import { median, table } from "./numbers.ts";
import { cpuSeconds, ownCpuSeconds, residentBytes, type Server, startServer, stopServer } from "./server.ts";

const HELP = `bun scripts/bench/gateway.ts [--peer NAME=URL]… [--peer-command NAME=COMMAND]… [--requests N] [--streams N] [--runs N]

  --peer NAME=URL  base URL of another gateway, as portkey=http://127.0.0.1:8787/v1, in front of --upstream-port
  --peer-command NAME=COMMAND  starts another, as portkey="node start-server.js --port={port}", and stops it at the end
  --upstream-port  where the provider listens that answers at once, 18099 unless given
  --requests N     plain requests of a round, 2000 unless given
  --streams N      streams of 100 chunks of a round, 200 unless given
  --runs N         rounds, in which all are measured in turns; medians are printed; 3 unless given
  --header N=V     sent to all, for peers that want to be told where the provider is

added p50, p99   of one request after another, beyond the provider's own
plain, streams   a second, ${16} at a time; failed is how many of both were not answered whole
cpu              milliseconds of one core for a thousand plain requests: of the gateway, and beside it of this client and
                 the provider, who share the machine with it
`;

const CLIENTS = 16;
const ALONE = 300;
/** Of a round, before anything is measured: compilers that work at run time are done then. */
const WARM = 500;
const PARTS = join(import.meta.dir, "gateway-parts.ts");
const BODY = { model: "far", messages: [{ role: "user", content: "Say hello." }] };

interface Contender {
  readonly name: string;
  readonly server: Server;
}

interface Round {
  readonly p50_ms: number;
  readonly p99_ms: number;
  readonly plain_s: number;
  readonly streams_s: number;
  readonly failed: number;
  readonly cpu_ms: number;
  readonly client_cpu_ms: number;
  readonly provider_cpu_ms: number;
}

const { values } = parseArgs({
  options: {
    help: { type: "boolean", default: false },
    peer: { type: "string", multiple: true, default: [] },
    "peer-command": { type: "string", multiple: true, default: [] },
    header: { type: "string", multiple: true, default: [] },
    "upstream-port": { type: "string", default: "18099" },
    requests: { type: "string", default: "2000" },
    streams: { type: "string", default: "200" },
    runs: { type: "string", default: "3" },
  },
});

if (values.help) {
  process.stdout.write(HELP);
  process.exit();
}

const headers = {
  "content-type": "application/json",
  ...Object.fromEntries(values.header.map((header) => header.split(/=(.*)/s).slice(0, 2))),
};
const upstream_url = `http://127.0.0.1:${values["upstream-port"]}/v1`;
const upstream = startServer([process.execPath, PARTS, "upstream", values["upstream-port"]]);
const ours = startServer([process.execPath, PARTS, "gateway", "{port}", upstream_url]);
const contenders: Contender[] = [
  { name: "provider", server: { url: upstream_url, process: upstream.process } },
  { name: "ours", server: ours },
  ...values.peer.map(named).map(([name, url]) => ({ name, server: { url, process: null } })),
  ...values["peer-command"].map(named).map(([name, words]) => ({ name, server: startServer(words.split(/\s+/)) })),
];

try {
  process.stdout.write(await measured());
} finally {
  await Promise.all([upstream, ...contenders.slice(1).map(({ server }) => server)].map(stopServer));
}

async function measured(): Promise<string> {
  for (const { server } of contenders) await untilAnswers(server);
  const rounds = new Map(contenders.map(({ name }) => [name, [] as Round[]]));
  for (let run = 0; run < Number(values.runs); run++) {
    for (const contender of contenders) rounds.get(contender.name)?.push(await round(contender.server));
  }
  const of = (name: string, field: keyof Round) => median((rounds.get(name) ?? []).map((round) => round[field] ?? 0));
  const rows = contenders.map(({ name, server }) => [
    name,
    (of(name, "p50_ms") - of("provider", "p50_ms")).toFixed(2),
    (of(name, "p99_ms") - of("provider", "p99_ms")).toFixed(2),
    of(name, "plain_s").toFixed(0),
    of(name, "streams_s").toFixed(0),
    of(name, "failed").toFixed(0),
    server.process === null ? "" : of(name, "cpu_ms").toFixed(0),
    of(name, "client_cpu_ms").toFixed(0),
    of(name, "provider_cpu_ms").toFixed(0),
    server.process === null ? "" : ((residentBytes(server) ?? 0) / 1e6).toFixed(0),
  ]);
  return table([
    ["", "added p50 ms", "p99 ms", "plain/s", "streams/s", "failed", "cpu", "client", "provider", "MB"],
    ...rows,
  ]);
}

async function round(server: Server): Promise<Round> {
  await perSecond(server, WARM, false);
  const alone: number[] = [];
  for (let index = 0; index < ALONE; index++) alone.push(await timed(server, false));
  alone.sort((one, other) => one - other);
  const before = cpuOf(server);
  const requests = Number(values.requests);
  const plain = await perSecond(server, requests, false);
  const after = cpuOf(server);
  const streams = await perSecond(server, Number(values.streams), true);
  const spent = (who: keyof typeof before) => ((after[who] - before[who]) * 1e6) / requests;
  return {
    p50_ms: alone[ALONE / 2] ?? 0,
    p99_ms: alone[Math.floor(ALONE * 0.99)] ?? 0,
    plain_s: plain.rate,
    streams_s: streams.rate,
    failed: plain.failed + streams.failed,
    cpu_ms: spent("gateway"),
    client_cpu_ms: spent("client"),
    provider_cpu_ms: spent("provider"),
  };
}

/** In seconds; 0 where it cannot be told. */
function cpuOf(server: Server) {
  return { gateway: cpuSeconds(server) ?? 0, client: ownCpuSeconds(), provider: cpuSeconds(upstream) ?? 0 };
}

function named(word: string): readonly [name: string, rest: string] {
  const [name = "", rest = ""] = word.split(/=(.*)/s);
  return [name, rest];
}

async function perSecond(server: Server, count: number, stream: boolean) {
  let left = count;
  let failed = 0;
  const client = async () => {
    while (left-- > 0) {
      await timed(server, stream).catch(() => {
        failed += 1;
      });
    }
  };
  const started_ms = performance.now();
  await Promise.all(Array.from({ length: CLIENTS }, client));
  return { rate: ((count - failed) * 1000) / (performance.now() - started_ms), failed };
}

/** In milliseconds. Throws unless the answer is whole. */
async function timed(server: Server, stream: boolean): Promise<number> {
  const started_ms = performance.now();
  const body = JSON.stringify(stream ? { ...BODY, stream } : BODY);
  const response = await fetch(`${server.url}/chat/completions`, { method: "POST", headers, body });
  const text = await response.text();
  if (!response.ok || (stream && !text.endsWith("data: [DONE]\n\n"))) {
    throw new Error(`${server.url} answered ${response.status}: ${text.slice(-300)}`);
  }
  return performance.now() - started_ms;
}

async function untilAnswers(server: Server): Promise<void> {
  for (let tries = 0; tries < 1200; tries++) {
    const answered = await timed(server, false).catch(() => null);
    if (answered !== null) return;
    await Bun.sleep(50);
  }
  throw new Error(`${server.url} does not answer`);
}
