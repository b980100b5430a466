/** What holds of a server whose engine is a process of its own, from source and compiled alike. */

import { expect, test } from "bun:test";
import { seeded } from "../random.ts";
import { Chaos, CONTEXT_LENGTH, engineOf, type Server, serverOf, startServer } from "./load.ts";

const START_MS_MAX = 60_000;
const CHAOS_MS = 3_000;
const SEED = 7;

export function testIsolation(command: readonly string[], is_there: boolean): void {
  const testHere = test.skipIf(!is_there);

  testHere(
    `kill -9 of the engine under load costs only the streams that had begun (seed ${SEED})`,
    async () => {
      await using server = await startServer(command, "process");
      const chaos = new Chaos(server, seeded(SEED));
      await chaos.learn();
      await chaos.run(CHAOS_MS, 6, true);
      await chaos.fillCache(CONTEXT_LENGTH);
      expect(chaos.wrong).toEqual([]);
      expect(chaos.seen.kills).toBeGreaterThan(0);
      expect(chaos.seen.whole).toBeGreaterThan(0);
      expect(chaos.seen.engine_errors).toBeLessThanOrEqual(6 * chaos.seen.kills);
    },
    START_MS_MAX,
  );

  testHere(
    "the engine's memory is the machine's again when it has ended, and it ends with the server",
    async () => {
      await using server = await startServer(command, "process");
      const engine = await engineFound(server);
      expect(engine.bytes_resident).toBeGreaterThan(100 * 2 ** 20); // the weights are here
      expect(serverOf(server)?.bytes_resident).toBeLessThan(engine.bytes_resident + 200 * 2 ** 20);
      process.kill(engine.pid, "SIGKILL");
      while (engineOf(server)?.pid === engine.pid) await Bun.sleep(10);
      const chaos = new Chaos(server, seeded(SEED));
      await chaos.learn();
      const next = await engineFound(server);
      expect(next.pid).not.toBe(engine.pid);
      expect(await server.stop("SIGTERM")).toBe(0);
      expect(isAlive(next.pid)).toBe(false);
    },
    START_MS_MAX,
  );

  testHere(
    "kill -9 of the server ends the engine",
    async () => {
      await using server = await startServer(command, "process");
      const engine = await engineFound(server);
      await server.stop("SIGKILL");
      for (let count = 0; count < 300 && isAlive(engine.pid); count++) await Bun.sleep(10);
      expect(isAlive(engine.pid)).toBe(false);
    },
    START_MS_MAX,
  );
}

async function engineFound(server: Server) {
  const engine = engineOf(server);
  if (engine === null) throw new Error("the server has no process for its engine");
  return engine;
}

function isAlive(pid: number): boolean {
  return serverOf({ url: "", pid }) !== null;
}
