/** In which forms the owner may say a value. Knows no setting. */

export type SettingForm =
  | { readonly kind: "count" | "bytes" | "number"; readonly least: number; readonly most: number }
  | { readonly kind: "choice"; readonly of: readonly string[] }
  | { readonly kind: "text" }
  | { readonly kind: "texts" };

/** A value as it was written in words, to be judged by `fits`. */
export function fromText(form: SettingForm, text: string): unknown {
  switch (form.kind) {
    case "count":
      return /^\d+$/.test(text) ? Number(text) : text;
    case "number":
      return /^\d+(\.\d+)?$/.test(text) ? Number(text) : text;
    case "bytes": {
      const [, digits, unit] = /^(\d+)(KiB|MiB|GiB)?$/.exec(text) ?? [];
      return digits === undefined ? null : Number(digits) * (UNITS.get(unit ?? "") ?? 1);
    }
    case "texts":
      return text.split(",").map((part) => part.trim());
    default:
      return text;
  }
}

export function fits(form: SettingForm, value: unknown): boolean {
  switch (form.kind) {
    case "count":
    case "bytes":
      return Number.isInteger(value) && isWithin(form, value);
    case "number":
      return Number.isFinite(value) && isWithin(form, value);
    case "choice":
      return form.of.some((known) => known === value);
    case "text":
      return isName(value);
    case "texts":
      return Array.isArray(value) && value.every(isName);
  }
}

function isName(value: unknown): boolean {
  return typeof value === "string" && value !== "";
}

function isWithin({ least, most }: { least: number; most: number }, value: unknown): boolean {
  return typeof value === "number" && value >= least && value <= most;
}

/** What would have been fitting. */
export function expectation(form: SettingForm): string {
  switch (form.kind) {
    case "count":
      return `a whole number from ${form.least} to ${form.most}`;
    case "number":
      return `a number from ${form.least} to ${form.most}`;
    case "bytes":
      return `a number of bytes, or of KiB, MiB or GiB as in 4GiB, from ${form.least} to ${form.most}`;
    case "choice":
      return form.of.join(" or ");
    case "text":
      return "a text that is not empty";
    case "texts":
      return "a list of texts that are not empty";
  }
}

const UNITS: ReadonlyMap<string, number> = new Map([
  ["KiB", 2 ** 10],
  ["MiB", 2 ** 20],
  ["GiB", 2 ** 30],
]);
