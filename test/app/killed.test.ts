/** A server that is killed while it loads a model, and the one that is started after it. */

import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { engineOf } from "../chaos/load.ts";
import { scratchFolder } from "../formats/scratch.ts";
import { MODEL, runToEnd, Served } from "../served.ts";

test.each(["worker", "process"])(
  "killed amid a load with its engine as a %s, it leaves nothing that the next one would trip over",
  async (isolation) => {
    const home = scratchFolder();
    const words = ["--isolation", isolation, "--preload-models", "none"];
    const first = await Served.start(words, { home });
    const load = first.ask("POST", `/admin/models/load/${MODEL}`).catch(() => null);
    const state = async () => (await first.ask("GET", "/admin/models/status")).body.loaded_models[0]?.state;
    while ((await state()) !== "loading") await Bun.sleep(1);
    const engine = engineOf(first);
    await first.stop("SIGKILL");
    expect(await load).toBeNull();

    await using second = await Served.start(words, { home });
    expect((await second.ask("GET", "/admin/ledger")).body).toMatchObject({ taken_bytes: 0, entries: [] });
    expect((await second.ask("GET", "/admin/queue")).body).toMatchObject({ waiting: 0, requests: [] });
    const chat = { model: MODEL, messages: [{ role: "user", content: "What is the capital of France?" }] };
    expect((await second.ask("POST", "/v1/chat/completions", chat)).text).toContain("Paris");
    // It ends when the call that loads returns.
    if (isolation === "process") while (isAlive(engine?.pid ?? 0)) await Bun.sleep(20);
    expect(await second.stop()).toBe(0);
    const verified = await runToEnd(["audit", "verify"], { home });
    expect(verified).toMatchObject({ code: 0, output: expect.stringContaining("unclean_stop") });
  },
  60_000,
);

/** What has ended may stay in the list of processes until somebody asks how. */
function isAlive(pid: number): boolean {
  expect(pid).toBeGreaterThan(0);
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  const stat = `/proc/${pid}/stat`;
  return !(existsSync(stat) && readFileSync(stat, "utf8").includes(") Z "));
}
