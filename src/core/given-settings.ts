/** A setting as somebody gave it: read, and judged. Knows not where it was written. */

import { Failure } from "./failure.ts";
import { expectation, fits, fromText } from "./setting-forms.ts";
import { SETTINGS, type SettingName, type Settings } from "./settings.ts";

type Refuse = (state: string) => Error;

/** A setting as it was written. `refuse` makes the error of why it cannot be. */
export function parseSetting<Name extends SettingName>(name: Name, text: string, refuse: Refuse): Settings[Name] {
  return checkSetting(name, fromText(SETTINGS[name].form, text), refuse);
}

/** A setting as JSON or TOML give it; bytes may also be written with their unit. */
export function checkSetting<Name extends SettingName>(name: Name, value: unknown, refuse: Refuse): Settings[Name] {
  const { form } = SETTINGS[name];
  const given = form.kind === "bytes" && typeof value === "string" ? fromText(form, value) : value;
  if (fits(form, given)) return given as Settings[Name];
  throw refuse(`it must be ${expectation(form)}`);
}

export function unknownSetting(place: string, name: string, near: string | null): Failure {
  const advice = near === null ? "" : `, perhaps ${near} was meant`;
  return new Failure("invalid_request", `Cannot use ${name} in ${place}: there is no such setting${advice}`, name);
}
