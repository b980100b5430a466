/**
 * A thousand random switches between three models where two fit, and whether all that was taken is given back:
 *   bun scripts/soak.ts [--switches 1000] [--clients 8] [--seed 1] [--contention wait|evict_idle] [--executable dist/bunsen]
 */

import { basename, resolve } from "node:path";
import { parseArgs } from "node:util";
import { minilm } from "../test/models/encoder-files.ts";
import { STORIES } from "../test/models/fixtures.ts";
import { seeded } from "../test/random.ts";
import { MODEL, Served, SOURCE } from "../test/served.ts";
import { type Holdings, Soak } from "../test/soak/switches.ts";

// What an allocator keeps of what it was given back, and what the runtime compiles meanwhile.
const SLACK = 1.25;
// Sockets that are being closed, and the runtime's own threads, come and go.
const HANDLES_MORE_MAX = 8;

const { values } = parseArgs({
  options: {
    switches: { type: "string", default: "1000" },
    clients: { type: "string", default: "8" },
    seed: { type: "string", default: "1" },
    contention: { type: "string", default: "wait" },
    executable: { type: "string" },
  },
});
const command = values.executable === undefined ? SOURCE : [resolve(values.executable)];
const models = [MODEL, STORIES, minilm()].flatMap((model) => ["--model", model]);
const settings = ["--max-models", "2", "--contention", values.contention];
// None is preloaded: each may have to make room.
const variables = { BUNSEN_PRELOAD_MODELS: "none" };
const server = await Served.start([...models, ...settings], { command, variables });

const names = { generators: [MODEL, basename(STORIES)], embedder: basename(minilm()) };
const soak = new Soak(server.url, names, seeded(Number(values.seed)));
await soak.learn();
await soak.run(100, Number(values.clients));
const before = await soak.holdings(server.pid);
const began_ms = performance.now();
await soak.run(Number(values.switches), Number(values.clients));
const duration_s = Math.round((performance.now() - began_ms) / 1000);
const after = await soak.holdings(server.pid);

const grown = grownParts(before, after);
console.log(JSON.stringify({ ...values, duration_s, ...soak.seen, wrong: soak.wrong, before, after, grown }, null, 2));
const exit_code = await server.stop();
process.exitCode = soak.wrong.length + grown.length + exit_code === 0 ? 0 : 1;

function grownParts(first: Holdings, last: Holdings): string[] {
  const bytes = last.bytes_resident > SLACK * first.bytes_resident ? ["bytes_resident"] : [];
  const handles = (["files", "threads"] as const).filter((part) => last[part] > first[part] + HANDLES_MORE_MAX);
  const taken = last.bytes_taken === 0 ? [] : ["bytes_taken"];
  return [...bytes, ...handles, ...taken];
}
