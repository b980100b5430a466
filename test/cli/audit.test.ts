/** `bunsen audit verify` as a command: what it says of a whole record, and of one that was changed. */

import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { join } from "node:path";
import { scratchFolder } from "../formats/scratch.ts";
import { ROOT } from "../root.ts";
import { openHouse } from "../route/house.ts";
import { runToEnd } from "../served.ts";

const FOLDER = scratchFolder();
const HI = [{ role: "user", content: "hi" }];

async function verify(home = FOLDER) {
  const { code, output } = await runToEnd(["audit", "verify"], { variables: { BUNSEN_HOME: home } });
  return [code, output];
}

test("a record is whole, until one digit of it is another", async () => {
  const house = openHouse({ folder: FOLDER });
  for (const model of ["tiny", "none"]) await house.chat({ model, messages: HI });
  await house.close();
  expect(await verify()).toEqual([0, "2 requests, whole and unchanged\n"]);
  {
    using file = new Database(house.database);
    file.run("UPDATE audit SET completion_tokens = 3 WHERE sequence = 1");
  }
  expect(await verify()).toEqual([1, "Broken after 0 requests: row 1 was changed\n"]);
});

test("after a kill at most the last second is missing, and it says so, then and after the next start", async () => {
  const home = join(FOLDER, "killed");
  const writer = Bun.spawn([process.execPath, join(ROOT, "test/store/audit-writer.ts"), home], { stdout: "pipe" });
  let told = "";
  const read = async () => {
    for await (const piece of writer.stdout) told += Buffer.from(piece).toString();
  };
  const reading = read();
  while (told.split("\n").length < 300) await Bun.sleep(20);
  writer.kill("SIGKILL");
  await writer.exited;
  await reading;
  const last_ms = Number(told.trimEnd().split("\n").at(-1));
  const [code, said] = await verify(home);
  expect(code).toBe(0);
  expect(said).toMatch(/^\d+ requests, whole and unchanged\nA server writes it now, or died: then up to a second/);
  using file = new Database(join(home, "bunsen.db"));
  const kept = file.query<{ last_ms: number; rows: number }, []>(
    "SELECT MAX(time_ms) AS last_ms, COUNT(*) AS rows FROM audit",
  );
  expect(last_ms - (kept.get()?.last_ms ?? 0)).toBeLessThan(1000);
  expect(kept.get()?.rows).toBeGreaterThan(50);
  const house = openHouse({ folder: home });
  await house.close();
  const [, after] = await verify(home);
  expect(after).toMatch(/^\d+ requests, whole and unchanged\nRows may be missing: \S+ unclean_stop\n$/);
}, 30_000);
