/**
 * Lays out what the executable carries: every file as NAME.part, and a manifest of which belong together.
 * Usage: parts.mjs OUT_FOLDER TARGET LIBRARY_FOLDER|none model|yes
 */

import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";

const [out, target, library_folder, model] = process.argv.slice(2);
const MODEL_FOLDER = "build/models/SmolLM2-135M-Instruct";
const MAC_LIBRARIES = ["libmlxc.dylib", "libmlx.dylib", "mlx.metallib"];

const bundles = { libraries: libraries(), model: model === "model" ? list(MODEL_FOLDER) : [] };
rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const manifest = {};
for (const [name, files] of Object.entries(bundles)) {
  if (files.length > 0) manifest[name] = pack(files);
}
writeFileSync(join(out, "manifest.part"), JSON.stringify(manifest));

function libraries() {
  if (library_folder === "none") return [];
  const names = readdirSync(library_folder).filter((name) =>
    target === "darwin-arm64" ? MAC_LIBRARIES.includes(name) : /\.so(\.|$)/.test(name),
  );
  const licenses = ["scripts/libraries-license.txt", "build/mlx/LICENSE"].filter((path) => existsSync(path));
  return [...names.map((name) => join(library_folder, name)), ...licenses];
}

function list(folder) {
  return readdirSync(folder).map((name) => join(folder, name));
}

/** The hash is over the names and contents of all files: another file, another folder. */
function pack(files) {
  const hash = createHash("sha256");
  const entries = files.sort().map((path) => {
    const content = readFileSync(path);
    const sha256 = createHash("sha256").update(content).digest("hex");
    const part = `${sha256.slice(0, 16)}.part`;
    copyFileSync(path, join(out, part));
    hash.update(basename(path)).update(sha256);
    return { name: basename(path), part, bytes: content.length };
  });
  return { hash: hash.digest("hex").slice(0, 16), files: entries };
}
