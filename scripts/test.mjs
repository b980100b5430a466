/** Sets everything up and runs every check; a failing one does not keep the others from running. Last line: `N passed, N failed`. */

import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..");
const BIN = join(ROOT, "node_modules/.bin");
const REPORT = join(ROOT, "build/junit.xml");

let passed = 0;
let failed = 0;

if (!run("set-up", "node", ["scripts/setup.mjs", "--oracles"])) {
  failed += 1;
} else {
  count("Biome", join(BIN, "biome"), ["check", "--error-on-warnings"]);
  count("TypeScript", join(BIN, "tsc"), []);
  count("knip", join(BIN, "knip"), []);
  const folders = readdirSync(join(ROOT, "test"), { withFileTypes: true })
    .filter((entry) => (entry.isDirectory() ? entry.name !== "binary" : entry.name.endsWith(".test.ts")))
    .map((entry) => `./test/${entry.name}`);
  countTests("tests", folders);
  count("compile", "bash", ["compile.sh"]);
  countTests("tests of the executable", ["./test/binary"]);
}
process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : 1;

function count(name, tool, words) {
  if (run(name, tool, words)) passed += 1;
  else failed += 1;
}

/** Each test counts; a run that breaks off without a failed test counts as one failure. */
function countTests(name, paths) {
  rmSync(REPORT, { force: true });
  // A busy machine is slow; what hangs is found all the same.
  const words = ["test", "--timeout=60000", "--reporter=junit", `--reporter-outfile=${REPORT}`, ...paths];
  const good = run(name, join(BIN, "bun"), words);
  const head = existsSync(REPORT) ? (/<testsuites [^>]*>/.exec(readFileSync(REPORT, "utf8"))?.[0] ?? "") : "";
  const number = (field) => Number(new RegExp(` ${field}="(\\d+)"`).exec(head)?.[1] ?? 0);
  const failures = number("failures");
  passed += number("tests") - failures - number("skipped");
  failed += good || failures > 0 ? failures : 1;
}

function run(name, tool, words) {
  process.stdout.write(`── ${name}\n`);
  const started_ms = Date.now();
  const { status } = spawnSync(tool, words, { cwd: ROOT, stdio: ["ignore", "inherit", "inherit"] });
  const seconds = ((Date.now() - started_ms) / 1000).toFixed(1);
  process.stdout.write(`── ${name}: ${status === 0 ? "passed" : "FAILED"} in ${seconds} s\n`);
  return status === 0;
}
