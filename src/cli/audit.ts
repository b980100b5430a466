/** `bunsen audit verify`: whether the record of requests is whole and unchanged. */

import type { Config } from "../config.ts";
import { verifyAudit } from "../store/audit.ts";
import { openStore } from "../store/database.ts";
import type { Options } from "./options.ts";

const EXIT_BROKEN = 1;

export function audit({ data_folder }: Config, { json }: Pick<Options, "json">): void {
  using store = openStore(data_folder);
  const verdict = verifyAudit(store);
  const { rows, fault, marks, open } = verdict;
  if (fault !== null) process.exitCode = EXIT_BROKEN;
  if (json) return void process.stdout.write(`${JSON.stringify(verdict)}\n`);
  const lines = [
    fault === null ? `${rows} requests, whole and unchanged` : `Broken after ${rows} requests: ${fault}`,
    ...marks.map((mark) => `Rows may be missing: ${mark}`),
    ...(open ? ["A server writes it now, or died: then up to a second before its end may be missing"] : []),
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
}
