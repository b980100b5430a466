/** Writes to an audit for as long as it lives, and tells when it wrote. */

import { UNROUTED } from "../../src/core/audit.ts";
import { StoredAudit } from "../../src/store/audit.ts";
import { openStore } from "../../src/store/database.ts";

const [folder = ""] = process.argv.slice(2);
const limits = { audit_days: 30, audit_bytes_max: 10 ** 8 };
const audit = new StoredAudit(openStore(folder), limits, Date.now, (error) => console.error(error));

while (true) {
  const time_ms = Date.now();
  const request = { time_ms, request_id: "req_1", endpoint: "chat", dialect: "openai" };
  audit.record({ ...UNROUTED, ...request, duration_ms: 1, status: "success", error_type: null });
  process.stdout.write(`${time_ms}\n`);
  await Bun.sleep(4);
}
