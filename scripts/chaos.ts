/**
 * Random cancels, disconnects and kills against a real server, for a given time, and whether everything is back after:
 *   bun scripts/chaos.ts [--seconds 120] [--isolation process|worker] [--seed 1] [--executable dist/bunsen]
 */

import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { Chaos, CONTEXT_LENGTH, engineOf, type Server, serverOf, startServer } from "../test/chaos/load.ts";
import { seeded } from "../test/random.ts";
import { SOURCE } from "../test/served.ts";

const CLIENTS = 24;
const SETTLE_MS = 3000;
// What an allocator keeps of what it was given back.
const SLACK = 1.25;

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "120" },
    isolation: { type: "string", default: "process" },
    seed: { type: "string", default: "1" },
    executable: { type: "string" },
  },
});
const command = values.executable === undefined ? SOURCE : [resolve(values.executable)];

await using server = await startServer(command, values.isolation);
const chaos = new Chaos(server, seeded(Number(values.seed)));
await chaos.learn();
await chaos.run(5000, CLIENTS, false);
await chaos.fillCache(CONTEXT_LENGTH);
const before = await settled(server);
await chaos.run(1000 * Number(values.seconds), CLIENTS, values.isolation === "process");
await chaos.learn();
await chaos.run(5000, CLIENTS, false);
await chaos.fillCache(CONTEXT_LENGTH);
const after = await settled(server);

const grown = Object.keys(before).filter((part) => (after[part] ?? 0) > SLACK * (before[part] ?? 0));
console.log(JSON.stringify({ ...values, ...chaos.seen, wrong: chaos.wrong, before, after, grown }, null, 2));
process.exitCode = chaos.wrong.length + grown.length === 0 ? 0 : 1;

/** Megabytes that are resident. */
async function settled(of: Server): Promise<Record<string, number>> {
  await Bun.sleep(SETTLE_MS);
  const parts = { server: serverOf(of), engine: engineOf(of) };
  return Object.fromEntries(
    Object.entries(parts).map(([part, found]) => [part, Math.round((found?.bytes_resident ?? 0) / 2 ** 20)]),
  );
}
