/** What the compiled executable unpacks: whole or not at all, whoever is interrupted. */

import { expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Home } from "../served.ts";
import { EXECUTABLE, IS_COMPILED, runToEnd, START_MS_MAX, startServer } from "./executable.ts";

setDefaultTimeout(START_MS_MAX);
const testExecutable = test.skipIf(!IS_COMPILED);
const testSmallDisk = test.skipIf(!IS_COMPILED || !canMount());

/** Every unpacked file with its size; throws on what an interrupted start has left. */
function unpacked(home: Home): Record<string, number> {
  const folder = join(home.path, ".bunsen/parts");
  const sizes: Record<string, number> = {};
  for (const bundle of readdirSync(folder)) {
    if (!/^[0-9a-f]+$/.test(bundle)) throw new Error(`left behind: ${bundle}`);
    for (const name of readdirSync(join(folder, bundle))) {
      sizes[`${bundle}/${name}`] = statSync(join(folder, bundle, name)).size;
    }
  }
  return sizes;
}

async function sound(): Promise<Record<string, number>> {
  using home = new Home();
  expect((await runToEnd(home, ["models"])).code).toBe(0);
  return unpacked(home);
}

testExecutable("the licences of the model and the libraries are unpacked beside them", async () => {
  using home = new Home();
  await runToEnd(home, ["models"]);
  const licenses = Object.keys(unpacked(home)).filter((path) => path.endsWith("/LICENSE"));
  const texts = licenses.map((path) => readFileSync(join(home.path, ".bunsen/parts", path), "utf8"));
  expect(texts.some((text) => text.includes("Apache License"))).toBe(true);
  expect(texts.some((text) => text.includes("MIT License"))).toBe(true);
});

testExecutable("two first starts at once both answer and leave one set of parts", async () => {
  using home = new Home();
  await using first = await startServer(home);
  await using second = await startServer(home);
  expect(first.url).not.toBe(second.url);
  expect(unpacked(home)).toEqual(await sound());
});

testExecutable("many first starts at once leave one whole set of parts", async () => {
  using home = new Home();
  const ends = await Promise.all(Array.from({ length: 4 }, () => runToEnd(home, ["models"])));
  expect(ends.map(({ code, errors }) => ({ code, errors }))).toEqual(ends.map(() => ({ code: 0, errors: "" })));
  expect(unpacked(home)).toEqual(await sound());
});

testExecutable("a start after one that was killed while unpacking is whole and removes what was left", async () => {
  const expected = await sound();
  let interrupted = 0;
  for (const delay_ms of [20, 60, 100, 140, 180, 240]) {
    using home = new Home();
    const child = Bun.spawn([EXECUTABLE, "models"], { cwd: "/", env: { HOME: home.path }, stdout: "ignore" });
    await Bun.sleep(delay_ms);
    child.kill("SIGKILL");
    if ((await child.exited) !== 0) interrupted += 1;
    expect((await runToEnd(home, ["models"])).code).toBe(0);
    expect(unpacked(home)).toEqual(expected);
  }
  expect(interrupted).toBeGreaterThan(0);
});

testExecutable("a truncated or missing part is unpacked again", async () => {
  using home = new Home();
  const expected = await sound();
  expect((await runToEnd(home, ["models"])).code).toBe(0);
  for (const path of Object.keys(expected)) truncateSync(join(home.path, ".bunsen/parts", path), 7);
  expect((await runToEnd(home, ["models"])).code).toBe(0);
  expect(unpacked(home)).toEqual(expected);
});

testExecutable("a later start writes nothing", async () => {
  using home = new Home();
  await runToEnd(home, ["models"]);
  const times = () =>
    Object.keys(unpacked(home)).map((path) => statSync(join(home.path, ".bunsen/parts", path)).ctimeMs);
  const before = times();
  await runToEnd(home, ["models"]);
  expect(times()).toEqual(before);
});

testExecutable("a data folder that cannot be made is one sentence and code 1", async () => {
  using home = new Home();
  writeFileSync(join(home.path, ".bunsen"), "a file is in the way");
  const { code, errors } = await runToEnd(home, ["models"]);
  expect(code).toBe(1);
  expect(errors).toMatch(/^bunsen: Cannot unpack into .*\.bunsen\/parts: .*\n$/);
});

test.skipIf(!IS_COMPILED || process.platform !== "linux")(
  "a data folder where none can be made is told so",
  async () => {
    using home = new Home();
    const env = { HOME: home.path, BUNSEN_HOME: "/proc/bunsen" };
    const child = Bun.spawn([EXECUTABLE, "models"], { env, stderr: "pipe" });
    const state = "there is no such folder and none can be made; BUNSEN_HOME names another folder";
    expect(await child.stderr.text()).toBe(`bunsen: Cannot unpack into /proc/bunsen/parts: ${state}\n`);
    expect(await child.exited).toBe(1);
  },
);

testSmallDisk("a full disk is one sentence that says how much is needed, and leaves nothing", async () => {
  using home = new Home();
  const disk = join(home.path, ".bunsen");
  mkdirSync(disk);
  const script = `mount -t tmpfs -o size=60m none ${disk} && HOME=${home.path} "$0" models; echo $?; ls -A ${disk}/parts`;
  const child = Bun.spawn(["unshare", "-rm", "sh", "-c", script, EXECUTABLE], { stdout: "pipe", stderr: "pipe" });
  const [output, errors] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  expect(errors).toMatch(/^bunsen: Cannot unpack into .*: the disk is full, \d+ MB are needed.*\n$/);
  const [code, ...left] = output.trimEnd().split("\n");
  expect(code).toBe("1");
  expect(left.filter((name) => !/^[0-9a-f]+$/.test(name))).toEqual([]);
});

/** Mounting needs user namespaces, which some systems forbid. */
function canMount(): boolean {
  if (process.platform !== "linux") return false;
  return Bun.spawnSync(["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]).success;
}
