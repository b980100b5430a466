/** How people write the names of models, and which name they mean. Knows neither files nor what there is. */

/** Every model has this tag here, so it says nothing. */
export function untagged(name: string): string {
  return name.replace(/:latest$/i, "");
}

/** Without what says that it is the hub's: "hf.co/org/name:Q4_K_M" → "org/name:Q4_K_M". */
export function bareName(name: string): string {
  return untagged(name.trim()).replace(/^(?:hf:\/\/|(?:https?:\/\/)?(?:www\.)?(?:hf\.co|huggingface\.co)\/)/i, "");
}

/** "org/name:Q4_K_M" → ["org/name", "Q4_K_M"]; null: there is no tag. */
export function splitName(name: string): readonly [name: string, tag: string | null] {
  const colon = name.lastIndexOf(":");
  return colon <= name.lastIndexOf("/") ? [name, null] : [name.slice(0, colon), name.slice(colon + 1)];
}

/** Whether the file "Name-Q4_K_M" is the "q4_k_m" that is asked for. */
export function isQuantization(stem: string, wanted: string): boolean {
  const file = stem.toLowerCase();
  const tag = wanted.toLowerCase().replace(/\.gguf$/, "");
  if (tag === "" || !file.endsWith(tag)) return false;
  const separators = /^(?:i?q\d|b?f\d|mx)/.test(tag) ? /[-._]/ : /[-.]/; // "xs" is no part of "IQ4_XS"
  return file === tag || separators.test(file.at(-tag.length - 1) ?? "");
}

/** The one of several that people take who do not say which; null: there is none. */
export function preferred<Each>(several: readonly Each[], stemOf: (each: Each) => string): Each | null {
  const found = PREFERRED.map((wanted) => several.find((each) => isQuantization(stemOf(each), wanted)));
  return found.find((each) => each !== undefined) ?? several[0] ?? null;
}

/** What loses little before what loses more, then what is larger than most need. */
const PREFERRED = [
  "Q4_K_M",
  "Q4_K_S",
  "Q5_K_M",
  "Q4_0",
  "Q4_1",
  "Q5_K_S",
  "Q6_K",
  "Q8_0",
  "MXFP4",
  "BF16",
  "F16",
  "F32",
];
