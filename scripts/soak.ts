/**
 * A thousand random switches between three models where two fit, and whether all that was taken is given back:
 *   bun scripts/soak.ts [--switches 1000] [--clients 8] [--seed 1] [--contention wait|evict_idle] [--executable dist/bunsen]
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { minilm } from "../test/models/encoder-files.ts";
import { STORIES } from "../test/models/fixtures.ts";
import { seeded } from "../test/random.ts";
import { type Holdings, Soak } from "../test/soak/switches.ts";

const GENERATOR = "SmolLM2-135M-Instruct";
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
const sources = [process.execPath, join(import.meta.dir, "../src/main.ts")];
const command = values.executable === undefined ? sources : [resolve(values.executable)];
const models = [GENERATOR, STORIES, minilm()].flatMap((model) => ["--model", model]);
const settings = ["--max-models", "2", "--contention", values.contention, "--port", "0", "--json"];
const home = mkdtempSync(join(tmpdir(), "bunsen-soak-"));
const child = Bun.spawn([...command, "serve", ...models, ...settings], {
  cwd: "/",
  // None is preloaded: each may have to make room.
  env: { PATH: "/nonexistent", HOME: home, BUNSEN_PRELOAD_MODELS: "none" },
  stdout: "pipe",
  stderr: "inherit",
});
const { value } = await child.stdout.getReader().read();
const { url } = JSON.parse(new TextDecoder().decode(value)) as { url: string };

const names = { generators: [GENERATOR, basename(STORIES)], embedder: basename(minilm()) };
const soak = new Soak(url, names, seeded(Number(values.seed)));
await soak.learn();
await soak.run(100, Number(values.clients));
const before = await soak.holdings(child.pid);
const began_ms = performance.now();
await soak.run(Number(values.switches), Number(values.clients));
const duration_s = Math.round((performance.now() - began_ms) / 1000);
const after = await soak.holdings(child.pid);

const grown = grownParts(before, after);
console.log(JSON.stringify({ ...values, duration_s, ...soak.seen, wrong: soak.wrong, before, after, grown }, null, 2));
child.kill("SIGTERM");
const exit_code = await child.exited;
rmSync(home, { recursive: true });
process.exitCode = soak.wrong.length + grown.length + exit_code === 0 ? 0 : 1;

function grownParts(first: Holdings, last: Holdings): string[] {
  const bytes = last.bytes_resident > SLACK * first.bytes_resident ? ["bytes_resident"] : [];
  const handles = (["files", "threads"] as const).filter((part) => last[part] > first[part] + HANDLES_MORE_MAX);
  const taken = last.bytes_taken === 0 ? [] : ["bytes_taken"];
  return [...bytes, ...handles, ...taken];
}
