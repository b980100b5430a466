/**
 * Three real models where two fit, and clients that switch between them at random; `scripts/soak.ts` does it a thousand
 * times.
 */

import { expect, test } from "bun:test";
import { minilm } from "../models/encoder-files.ts";
import { STORIES } from "../models/fixtures.ts";
import { seeded } from "../random.ts";
import { MODEL, Served } from "../served.ts";
import { Soak } from "../soak/switches.ts";

test.if(process.platform === "linux")(
  "every answer is the model's own, nobody is failed, and all is given back",
  async () => {
    const models = [MODEL, STORIES, minilm()].flatMap((model) => ["--model", model]);
    const words = ["--max-models", "2", "--preload-models", "none", ...models];
    await using server = await Served.start(words);
    const names = { generators: [MODEL, "stories260K"], embedder: "all-MiniLM-L6-v2" };
    const soak = new Soak(server.url, names, seeded(7));
    await soak.learn();
    await soak.run(10, 8);
    const before = await soak.holdings(server.pid);
    await soak.run(24, 8);
    const after = await soak.holdings(server.pid);
    expect(soak.wrong).toEqual([]);
    expect([before.bytes_taken, after.bytes_taken]).toEqual([0, 0]);
    // Sockets that are being closed, and the runtime's own threads, come and go.
    expect(after.files - before.files).toBeLessThanOrEqual(8);
    expect(after.threads - before.threads).toBeLessThanOrEqual(8);
  },
  120_000,
);
