/** The version of this executable. */

import package_json from "../../package.json" with { type: "json" };

export const VERSION: string = package_json.version;

export function printVersion(options: { json: boolean }): void {
  const text = options.json ? JSON.stringify({ version: VERSION, bun: Bun.version }) : `bunsen ${VERSION}`;
  process.stdout.write(`${text}\n`);
}
