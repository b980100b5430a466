/** `bunsen audit verify` as a command: what it says of a whole record, and of one that was changed. */

import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { join } from "node:path";
import { scratchFolder } from "../formats/scratch.ts";
import { ROOT } from "../root.ts";
import { openHouse } from "../route/house.ts";

const FOLDER = scratchFolder();

async function verify() {
  const child = Bun.spawn([process.execPath, join(ROOT, "src/main.ts"), "audit", "verify"], {
    env: { ...process.env, BUNSEN_HOME: FOLDER },
    stdout: "pipe",
  });
  const said = await child.stdout.text();
  return [await child.exited, said];
}

test("a record is whole, until one digit of it is another", async () => {
  const house = openHouse({ folder: FOLDER });
  for (const model of ["tiny", "none"]) await house.chat({ model, messages: [{ role: "user", content: "hi" }] });
  await house.close();
  expect(await verify()).toEqual([0, "2 requests, whole and unchanged\n"]);
  {
    using file = new Database(house.database);
    file.run("UPDATE audit SET completion_tokens = 3 WHERE sequence = 1");
  }
  expect(await verify()).toEqual([1, "Broken after 0 requests: row 1 was changed\n"]);
});
