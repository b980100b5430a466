/** The rules of the house that no other tool checks. Each rule is a function of one file, shown to tell good from bad. */

import { describe, expect, test } from "bun:test";
import { join, normalize } from "node:path";
import { ROOT } from "./root.ts";

interface SourceFile {
  /** From the root of the repository. */
  readonly path: string;
  readonly text: string;
}

/** What is wrong with a file, in words; empty when nothing is. */
type Rule = (file: SourceFile) => string[];

/** What each floor may import beside itself and `core/`. The files on top (main, app, config, parts, cli) may import all. */
const FLOORS: Readonly<Record<string, readonly string[]>> = {
  core: [],
  formats: [],
  mlx: [],
  models: ["mlx", "formats"],
  engine: ["models", "mlx"],
  worker: [],
  schedule: ["worker", "formats"],
  text: ["formats"],
  hub: ["formats"],
  store: [],
  route: ["schedule", "text"],
  wire: [],
  http: ["wire"],
  cli: ["*"],
};

/** The engine's thread is built here; the rest of `worker/` also runs on the main thread. */
const ENGINE_THREAD = { path: "src/worker/main.ts", imports: ["engine", "models", "mlx"] };

/** Which floors (or files on top) may use which package. */
const OWNERS: readonly { readonly package: RegExp; readonly owners: readonly string[] }[] = [
  { package: /^ajv(?:\/.+)?$/, owners: ["text"] },
  { package: /^(?:elysia|@elysiajs\/.+|swagger-ui-dist\/.+)$/, owners: ["http"] },
  { package: /^@sinclair\/typebox(?:\/.+)?$/, owners: ["http", "wire", "route", "store", "config.ts"] },
  { package: /^(?:cockatiel|re2js)$/, owners: ["route"] },
  { package: /^bun:ffi$/, owners: ["mlx"] },
  { package: /^@huggingface\/.+$/, owners: ["text"] },
  { package: /^(?:bun:sqlite|drizzle-orm(?:\/.+)?)$/, owners: ["store"] },
  { package: /^node:.+$/, owners: ["*"] },
];

const LINES_MAX = 400;
const AGENTS_LINES_MAX = 80;

/** `src/http/chat.ts` is on floor `http`, `src/app.ts` on top as `app.ts`. */
function floorOf(path: string): string {
  return path.split("/")[1] ?? "";
}

function importsOf(text: string): string[] {
  const statements = text.matchAll(/^\s*(?:import|export)\s(?:[^"';]*?\sfrom\s+)?"([^"]+)"/gm);
  const calls = text.matchAll(/\bimport\(\s*"([^"]+)"/g);
  return [...statements, ...calls].map((match) => match[1] ?? "");
}

const floors: Rule = ({ path, text }) => {
  const floor = floorOf(path);
  if (!path.startsWith("src/") || floor.endsWith(".ts")) return [];
  const known = FLOORS[floor];
  if (known === undefined) return [`${path} is on floor "${floor}", which the table does not have`];
  const allowed = [floor, "core", ...known, ...(path === ENGINE_THREAD.path ? ENGINE_THREAD.imports : [])];
  if (known.includes("*")) return [];
  const relative = importsOf(text).filter((target) => target.startsWith("."));
  const wrong = relative.filter((target) => !allowed.includes(floorOf(normalize(join(path, "..", target)))));
  return wrong.map((target) => `${path} imports ${target}; ${floor} may import ${allowed.join(", ")}`);
};

const owners: Rule = ({ path, text }) => {
  if (!path.startsWith("src/")) return [];
  const packages = importsOf(text).filter((target) => !target.startsWith("."));
  return packages.flatMap((name) => {
    const owner = OWNERS.find((owner) => owner.package.test(name));
    if (owner === undefined) return [`${path} imports ${name}, which has no owner in the table`];
    const allowed = owner.owners.includes("*") || owner.owners.includes(floorOf(path));
    return allowed ? [] : [`${path} imports ${name}, which only ${owner.owners.join(", ")} may`];
  });
};

const environment: Rule = ({ path, text }) => {
  if (!path.startsWith("src/") || path === "src/config.ts") return [];
  const reads = /\b(?:process|Bun)\.env\b|\bimport\.meta\.env\b|\benv\b[^;]*from "node:process"/.test(text);
  return reads ? [`${path} reads the environment; only src/config.ts does`] : [];
};

/** A route's handler or a hook of Elysia's that is not async lets a rejected promise escape the error handler. */
const asyncHandlers: Rule = ({ path, text }) => {
  if (!path.startsWith("src/http/")) return [];
  const routes = text.matchAll(
    /\.(?:get|post|put|patch|delete|options|head|all|ws)\(\s*["'`]\/[^"'`]*["'`]\s*,\s*(\S+)/g,
  );
  const hooks = text.matchAll(/\.(?:on[A-Z]\w*|derive|resolve|mapResponse|guard)\(\s*([^\s)]+)/g);
  const handlers = [...routes, ...hooks].map((match) => match[1] ?? "");
  return handlers
    .filter((handler) => handler !== "async")
    .map((handler) => `${path} has a handler that is not async: ${handler}`);
};

const LEFTOVERS = new RegExp(`\\b(?:${["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"].join("|")})\\b`);

const leftovers: Rule = ({ path, text }) => {
  const found = LEFTOVERS.exec(text);
  return found === null ? [] : [`${path} has a leftover: ${found[0]}`];
};

const fileAlarm: Rule = ({ path, text }) => {
  const lines = text.split("\n").length - 1;
  const long = path.startsWith("src/") && lines > LINES_MAX;
  return long ? [`${path} has ${lines} lines; above ${LINES_MAX} it holds more than one thought`] : [];
};

/** The first words of a file say what it is. */
const opening: Rule = ({ path, text }) => {
  const is_code = /\.(?:ts|mjs|cpp|h)$/.test(path) && path.includes("/");
  return is_code && !text.startsWith("/**") ? [`${path} does not open with what it is`] : [];
};

const helperNames: Rule = ({ path }) => {
  const parts = path.split(/[/.-]/);
  const vague = parts.find((part) => /^(?:helpers?|utils?|utilities|misc|common)$/i.test(part));
  return vague === undefined ? [] : [`${path} is named "${vague}", which says nothing of what it is`];
};

const OUTSIDE: readonly { readonly what: string; readonly found: RegExp }[] = [
  { what: "a number in a tracker", found: /\b(?:issue|ticket|pull request|PR)s? #?\d+\b/i },
  { what: "a path of one machine", found: /(?<![\w.$}])\/(?:work|root|home\/\w+|Users\/\w+)\//i },
  {
    what: "the host of a registry",
    found: /\b(?:registry\.npmjs\.org|pypi\.org|pythonhosted\.org|deb\.debian\.org)\b/i,
  },
];

const speaksOfItself: Rule = ({ path, text }) =>
  OUTSIDE.flatMap(({ what, found }) => {
    const match = found.exec(text);
    return match === null ? [] : [`${path} names ${what}: ${match[0]}`];
  });

const agentsPage: Rule = ({ path, text }) => {
  const lines = text.split("\n").length - 1;
  const long = path === "AGENTS.md" && lines > AGENTS_LINES_MAX;
  return long ? [`AGENTS.md has ${lines} lines, of ${AGENTS_LINES_MAX} that are read`] : [];
};

const RULES: Readonly<Record<string, Rule>> = {
  "a file imports from floors below only": floors,
  "a package is used where it is owned": owners,
  "only config reads the environment": environment,
  "a handler is async": asyncHandlers,
  "nothing is left for later": leftovers,
  "a file ends where the thought ends": fileAlarm,
  "a file opens with what it is": opening,
  "a name says what the file is": helperNames,
  "the project speaks only of itself": speaksOfItself,
  "AGENTS.md stays short": agentsPage,
};

/** This file quotes what it forbids. */
const SELF = "test/tidy.test.ts";
const PLACES = ["{src,test,scripts,native,.ci}/**/*", "*.{md,json,toml,sh}", ".editorconfig", ".gitignore"];
const TEXT = /(?:^|[/.])(?:ts|mjs|js|py|cpp|h|txt|in|md|json|toml|sh|run|editorconfig|gitignore)$/;

async function readFiles(): Promise<SourceFile[]> {
  const paths = new Set(PLACES.flatMap((place) => [...new Bun.Glob(place).scanSync({ cwd: ROOT, dot: true })]));
  const texts = [...paths].filter((path) => TEXT.test(path) && path !== SELF && path !== "package-lock.json");
  return await Promise.all(texts.map(async (path) => ({ path, text: await Bun.file(join(ROOT, path)).text() })));
}

describe("in the repository", async () => {
  const files = await readFiles();

  test("there are files to check", () => {
    const paths = files.map((file) => file.path);
    expect(paths).toContain("src/http/server.ts");
    expect(paths).toContain("AGENTS.md");
    expect(paths).toContain(".ci/run");
  });

  for (const [fact, rule] of Object.entries(RULES)) {
    test(fact, () => {
      expect(files.flatMap(rule)).toEqual([]);
    });
  }
});

/** For each rule: what it lets pass, and what it must name. */
const PLANTED: readonly { readonly rule: Rule; readonly good: SourceFile[]; readonly bad: SourceFile[] }[] = [
  {
    rule: floors,
    good: [
      { path: "src/http/chat.ts", text: 'import { a } from "../wire/a.ts";\nimport { b } from "./b.ts";\n' },
      { path: "src/mlx/ops.ts", text: 'import type { F } from "../core/failure.ts";\n' },
      { path: "src/worker/main.ts", text: 'import { Engine } from "../engine/engine.ts";\n' },
      { path: "src/app.ts", text: 'import { Engine } from "./engine/engine.ts";\n' },
      { path: "src/cli/run.ts", text: 'import { buildApp } from "../app.ts";\n' },
    ],
    bad: [
      { path: "src/wire/a.ts", text: 'import { a } from "../http/a.ts";\n' },
      { path: "src/wire/a.ts", text: 'import type { A } from "../route/a.ts";\n' },
      { path: "src/http/a.ts", text: 'import {\n  a,\n  b,\n} from "../engine/a.ts";\n' },
      { path: "src/core/a.ts", text: 'export { a } from "../mlx/a.ts";\n' },
      { path: "src/route/a.ts", text: 'import "../worker/a.ts";\n' },
      { path: "src/text/a.ts", text: 'const a = await import("../models/a.ts");\n' },
      { path: "src/worker/client.ts", text: 'import { Engine } from "../engine/engine.ts";\n' },
      { path: "src/hub/a.ts", text: 'import { readConfig } from "../config.ts";\n' },
      { path: "src/cellar/a.ts", text: "" },
    ],
  },
  {
    rule: owners,
    good: [
      { path: "src/http/a.ts", text: 'import { Elysia } from "elysia";\nimport { Type } from "@sinclair/typebox";\n' },
      { path: "src/mlx/a.ts", text: 'import { dlopen } from "bun:ffi";\nimport { join } from "node:path";\n' },
      { path: "test/a.test.ts", text: 'import OpenAI from "openai";\n' },
    ],
    bad: [
      { path: "src/wire/a.ts", text: 'import type { Context } from "elysia";\n' },
      { path: "src/engine/a.ts", text: 'import { read } from "bun:ffi";\n' },
      { path: "src/engine/a.ts", text: 'import { Value } from "@sinclair/typebox/value";\n' },
      { path: "src/http/a.ts", text: 'import { retry } from "cockatiel";\n' },
      { path: "src/http/a.ts", text: 'import { Database } from "bun:sqlite";\n' },
      { path: "src/models/a.ts", text: 'import { Tokenizer } from "@huggingface/tokenizers";\n' },
      { path: "src/core/a.ts", text: 'import lodash from "lodash";\n' },
    ],
  },
  {
    rule: environment,
    good: [
      { path: "src/config.ts", text: "const { HOME } = process.env;" },
      { path: "src/mlx/a.ts", text: "const environment = config.env;" },
    ],
    bad: [
      { path: "src/mlx/a.ts", text: 'const home = process.env["HOME"];' },
      { path: "src/app.ts", text: "const { HOME } = Bun.env;" },
      { path: "src/text/a.ts", text: 'import { env } from "node:process";' },
    ],
  },
  {
    rule: asyncHandlers,
    good: [
      {
        path: "src/http/a.ts",
        text: 'app.get("/a", async () => 1).post(\n  "/b",\n  async ({ body }) => body,\n  {},\n)',
      },
      { path: "src/http/a.ts", text: 'request.headers.get("accept"); map.delete("/a"); ids.get(request)' },
      { path: "src/http/a.ts", text: "app.onError(async ({ error }) => error).onRequest(async () => {})" },
    ],
    bad: [
      { path: "src/http/a.ts", text: 'app.get("/a", () => load())' },
      { path: "src/http/a.ts", text: 'app.post(\n  "/a",\n  ({ body }) => load(body),\n)' },
      { path: "src/http/a.ts", text: "app.get('/a', handler)" },
      { path: "src/http/a.ts", text: "app.onError(({ error }) => say(error))" },
    ],
  },
  {
    rule: leftovers,
    good: [{ path: "src/a.ts", text: "const todo_count = 0; mktemp XXXXXX" }],
    bad: [
      { path: "src/a.ts", text: "// TODO: later" },
      { path: "native/a.cpp", text: "/* FIXME */" },
    ],
  },
  {
    rule: fileAlarm,
    good: [
      { path: "src/a/b.ts", text: "x\n".repeat(LINES_MAX) },
      { path: "test/a.test.ts", text: "x\n".repeat(LINES_MAX + 1) },
    ],
    bad: [{ path: "src/a/b.ts", text: "x\n".repeat(LINES_MAX + 1) }],
  },
  {
    rule: opening,
    good: [
      { path: "src/a/b.ts", text: "/** What it is. */\n\nconst a = 1;\n" },
      { path: "scripts/a.py", text: '"""What it is."""\n' },
    ],
    bad: [
      { path: "test/a.test.ts", text: 'import { test } from "bun:test";\n' },
      { path: "native/a.cpp", text: "#pragma once\n" },
    ],
  },
  {
    rule: helperNames,
    good: [{ path: "src/wire/openai-chat.ts", text: "" }],
    bad: [
      { path: "src/wire/openai-helpers.ts", text: "" },
      { path: "test/utils/random.ts", text: "" },
    ],
  },
  {
    rule: speaksOfItself,
    good: [{ path: "src/a.ts", text: "a network/work/item of ~/home/x; see oven-sh/bun#32054" }],
    bad: [
      { path: "src/a.ts", text: "// see issue #12" },
      { path: "README.md", text: "cd /work/main" },
      { path: "test/a.test.ts", text: 'read("/home/ada/model.gguf")' },
      { path: "scripts/a.mjs", text: "https://registry.npmjs.org/bun" },
    ],
  },
  {
    rule: agentsPage,
    good: [{ path: "AGENTS.md", text: "x\n".repeat(AGENTS_LINES_MAX) }],
    bad: [{ path: "AGENTS.md", text: "x\n".repeat(AGENTS_LINES_MAX + 1) }],
  },
];

describe("the rule tells good from bad:", () => {
  for (const [fact, rule] of Object.entries(RULES)) {
    test(fact, () => {
      const planted = PLANTED.find((planted) => planted.rule === rule);
      expect(planted?.good.length).toBeGreaterThan(0);
      expect(planted?.bad.length).toBeGreaterThan(0);
      expect(planted?.good.flatMap(rule)).toEqual([]);
      const unseen = planted?.bad.filter((file) => rule(file).length === 0);
      expect(unseen).toEqual([]);
    });
  }
});
