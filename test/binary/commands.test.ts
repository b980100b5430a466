/** The commands of the compiled executable that end by themselves. */

import { expect, setDefaultTimeout, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import package_json from "../../package.json" with { type: "json" };
import { Home, MODEL } from "../served.ts";
import { IS_COMPILED, runToEnd, START_MS_MAX } from "./executable.ts";

setDefaultTimeout(START_MS_MAX);
const testExecutable = test.skipIf(!IS_COMPILED);

testExecutable("version prints the version of package.json", async () => {
  using home = new Home();
  expect(await runToEnd(home, ["version"])).toEqual({
    code: 0,
    output: `bunsen ${package_json.version}\n`,
    errors: "",
  });
});

testExecutable("help names every command", async () => {
  using home = new Home();
  const { code, output } = await runToEnd(home, ["help"]);
  expect(code).toBe(0);
  for (const command of ["serve", "run", "models", "version"]) expect(output).toContain(`bunsen ${command}`);
});

testExecutable("an unknown command is refused by name with code 2", async () => {
  using home = new Home();
  const { code, errors } = await runToEnd(home, ["sing"]);
  expect(code).toBe(2);
  expect(errors).toContain('"sing"');
  expect(errors.trimEnd().split("\n")).toHaveLength(1);
});

testExecutable("models --json lists the built-in model with a file that is there", async () => {
  using home = new Home();
  const { code, output } = await runToEnd(home, ["models", "--json"]);
  expect(code).toBe(0);
  const [first] = JSON.parse(output) as { name: string; path: string }[];
  expect(first?.name).toBe(MODEL);
  expect(first?.path).toStartWith(join(home.path, ".bunsen/parts/"));
  expect(
    await Bun.file(first?.path ?? "")
      .slice(0, 4)
      .text(),
  ).toBe("GGUF");
});

testExecutable("run answers the words of the command line", async () => {
  using home = new Home();
  const { code, output } = await runToEnd(home, ["run", "What is the capital of France?"]);
  expect(code).toBe(0);
  expect(output).toContain("Paris");
});

testExecutable("run answers a pipe", async () => {
  using home = new Home();
  const { code, output } = await runToEnd(home, ["run"], "What is the capital of France?\n");
  expect(code).toBe(0);
  expect(output).toContain("Paris");
});

testExecutable("a model that is not there is one sentence and code 1", async () => {
  using home = new Home();
  const { code, errors } = await runToEnd(home, ["serve", "--port", "0", "--model", "/nonexistent/model.gguf"]);
  expect(code).toBe(1);
  expect(errors).toMatch(/^bunsen: Cannot .*\/nonexistent\/model\.gguf.*\n$/);
});

testExecutable("a model file that is no model is one sentence and code 1", async () => {
  using home = new Home();
  const path = join(home.path, "noise.gguf");
  writeFileSync(path, "this is not a model, whatever its name says");
  const { code, errors } = await runToEnd(home, ["serve", "--port", "0", "--model", path]);
  expect(code).toBe(1);
  expect(errors).toMatch(/^bunsen: Cannot .*noise\.gguf.*\n$/);
});

testExecutable("a .env file of the current folder has no effect", async () => {
  using home = new Home();
  writeFileSync(join(home.path, ".env"), `BUNSEN_HOME=${join(home.path, "elsewhere")}\n`);
  const { output } = await runToEnd(home, ["models", "--json"], "", home.path);
  const [first] = JSON.parse(output) as { path: string }[];
  expect(first?.path).toStartWith(join(home.path, ".bunsen/parts/"));
});
