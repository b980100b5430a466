/** What a server that is asked what it is may do: take its time, never end, or answer anything. */

import { describe, expect, test } from "bun:test";
import { NO_DEFAULTS } from "../../src/core/routing.ts";
import { scratchFolder } from "../formats/scratch.ts";
import { closedAfterEach, openHouse } from "./house.ts";

const FOLDER = scratchFolder();
const open = closedAfterEach();

/** An answer without an end; tells what was read of it. */
function endless() {
  const sent = { bytes: 0 };
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: () => {
      const piece = new Uint8Array(2 ** 16).fill(0x20);
      const body = new ReadableStream<Uint8Array>({
        async pull(controller) {
          await Bun.sleep(0);
          sent.bytes += piece.length;
          controller.enqueue(piece);
        },
      });
      return new Response(body, { headers: { "content-type": "application/json" } });
    },
  });
  open.push(async () => await server.stop(true));
  return { sent, base_url: `http://127.0.0.1:${server.port}/v1` };
}

describe("an endless answer is given up at a limit", () => {
  for (const backend_type of ["cloud", "ollama", "lmstudio", "llamacpp"] as const) {
    test(`of a provider of type ${backend_type} that is tried, and asked for what it has in memory`, async () => {
      const { sent, base_url } = endless();
      const house = openHouse({ folder: `${FOLDER}/${backend_type}` });
      open.push(house.close);
      await house.set("providers", { name: "far", api_type: "openai", base_url, backend_type });
      const tried = await house.send("POST", "/api/settings/providers/far/test");
      expect(await tried.json()).toMatchObject({
        outcome: "unreachable",
        detail: expect.stringMatching(/exceeds 8388608 bytes$/),
      });
      expect(await (await house.send("GET", "/api/providers/loaded")).json()).toEqual({
        data: [{ provider: "far", models: [] }],
      });
      expect(sent.bytes).toBeLessThan(48 * 2 ** 20);
    });
  }

  test("of a server that auto looks at", async () => {
    const { sent, base_url } = endless();
    const provider = { name: "lmstudio", api_type: "openai", backend_type: "lmstudio", base_url } as const;
    const house = openHouse({
      folder: `${FOLDER}/auto`,
      settings: { default_provider: "auto" },
      providers: [{ provider, key: null, defaults: NO_DEFAULTS }],
    });
    open.push(house.close);
    const found = await house.findDefault(AbortSignal.timeout(9000));
    expect(found?.tried[1]).toBe(`lmstudio at ${new URL(base_url).host}: no server`);
    expect(sent.bytes).toBeLessThan(24 * 2 ** 20);
  });
});
