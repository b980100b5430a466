/** The whole server from source, in a process of its own with a home of its own. */

import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "../root.ts";

export const MODEL = "SmolLM2-135M-Instruct";

export interface Server {
  readonly url: string;
  stop(): Promise<void>;
}

export async function serve(...models: readonly string[]): Promise<Server> {
  const words = ["serve", "--port", "0", "--json", ...models.flatMap((model) => ["--model", model])];
  const running = Bun.spawn([process.execPath, join(ROOT, "src/main.ts"), ...words], {
    env: { PATH: process.env["PATH"], HOME: mkdtempSync(join(tmpdir(), "bunsen-")) },
    stdout: "pipe",
    stderr: "inherit",
  });
  const { value } = await running.stdout.getReader().read();
  return {
    url: JSON.parse(new TextDecoder().decode(value)).url,
    async stop() {
      running.kill("SIGTERM");
      await running.exited;
    },
  };
}
