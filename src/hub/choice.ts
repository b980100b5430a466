/** Which of a repository's files make the model that is asked for. Knows their names and nothing of what is in them. */

import { Failure } from "../core/failure.ts";
import { isQuantization, preferred } from "../core/model-names.ts";
import { ggufParts, ggufStem } from "../formats/gguf-parts.ts";
import { foreignWeights } from "../formats/safetensors.ts";
import { FOLDER_PARTS, isGgufModel } from "./cache.ts";
import type { HubFile, HubModel } from "./client.ts";

/** Enough to see how to write one. */
const CHOICES_SHOWN = 8;

/**
 * `quantization`: of one of several GGUF files, as "Q4_K_M". Without one it is the folder of safetensors where there is
 * one, else the GGUF file that most people take. The last file is the one without which nothing is a model.
 */
export function filesOf(
  { name, files }: Pick<HubModel, "name" | "files">,
  quantization: string | null,
): readonly HubFile[] {
  const refuse = (kind: "not_found" | "unsupported", state: string) =>
    new Failure(kind, `Cannot pull "${name}": ${state}`);
  const packed = files.filter(({ path }) => isPlainName(path.replace(/^\w[\w.-]*\//, "")) && isGgufModel(path));
  const partsOf = (chosen: HubFile) =>
    ggufParts(chosen.path).map((part) => {
      const found = files.find(({ path }) => path === part);
      if (found === undefined) throw refuse("unsupported", `its file "${part}" is missing`);
      return found;
    });
  if (quantization !== null) {
    const found = packed.filter(({ path }) => isQuantization(ggufStem(path), quantization));
    const shortest = found.toSorted((a, b) => a.path.length - b.path.length)[0];
    if (shortest !== undefined) return partsOf(shortest).reverse();
    throw refuse("not_found", `it has no GGUF file "${quantization}"; ${choices(packed)}`);
  }
  const weights = weightsOf(files);
  const missing = FOLDER_PARTS.filter((part) => !files.some(({ path }) => path === part));
  if (weights.length > 0 && missing.length === 0) return [...weights, ...smallFiles(files)];
  const best = preferred(packed, ({ path }) => ggufStem(path));
  if (best !== null) return partsOf(best).reverse();
  const lacks = weights.length === 0 ? ["safetensors", "GGUF file"] : missing;
  const others = weights.length === 0 ? foreignWeights(files.map(({ path }) => path)) : "";
  throw refuse("unsupported", `it has no ${lacks.join(" and no ")}${others}`);
}

function choices(packed: readonly HubFile[]): string {
  if (packed.length === 0) return "it has none at all";
  const shown = packed.slice(0, CHOICES_SHOWN).map(({ path }) => ggufStem(path));
  return `it has ${[...shown, ...(packed.length > CHOICES_SHOWN ? ["…"] : [])].join(", ")}`;
}

/** As the loader names them: one file, or shards; other safetensors beside them are copies in other forms. */
export function weightsOf(files: readonly HubFile[]): readonly HubFile[] {
  const forms = [
    /^model\.safetensors$/,
    /^model-\d+-of-\d+\.safetensors$/,
    /^model\.safetensors-\d+-of-\d+\.safetensors$/,
  ];
  const found = forms.map((form) => files.filter(({ path }) => form.test(path)));
  return found.find((each) => each.length > 0) ?? [];
}

/** What comes with the weights: configs, tokenizer and template, and the modules of sentence-transformers. */
export function smallFiles(files: readonly HubFile[]): readonly HubFile[] {
  const small = files.filter(({ path }) => isPlainName(path.replace(/^\d+_\w+\//, "")) && SMALL.test(path));
  return small.toSorted((a, b) => Number(a.path === CONFIG) - Number(b.path === CONFIG));
}

const SMALL = /\.(?:json|jinja|model|txt)$/;
const [CONFIG] = FOLDER_PARTS;

/** A file of the folder itself, whose name any file system takes. */
function isPlainName(path: string): boolean {
  return /^\w[\w .+-]{0,200}$/.test(path);
}
