/** A model's file that somebody cuts while the model is in use. */

import { expect, test } from "bun:test";
import { cpSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { startEngine } from "../../src/app.ts";
import { wasFileCut } from "../../src/mlx/extras.ts";
import { EngineClient } from "../../src/worker/client.ts";
import { scratchFolder } from "../formats/scratch.ts";
import { engineParts } from "../open-mlx.ts";
import { ROOT } from "../root.ts";

const FOLDER = scratchFolder();
const NEVER = new AbortController().signal;
const TEXT = { token_ids: [101, 7592, 2088, 102], second_at: 4 };

for (const isolation of ["worker", "process"] as const) {
  test.if(process.platform === "linux")(
    `(${isolation}) ends its engine, and the next one says what is wrong`,
    async () => {
      const path = join(FOLDER, isolation);
      cpSync(join(ROOT, "build/models/all-MiniLM-L6-v2"), path, { recursive: true });
      let lives = 0;
      const start = () => {
        lives += 1;
        return startEngine(isolation);
      };
      const client = new EngineClient(start, engineParts(FOLDER));
      await client.load("mini", path);
      expect(await client.read("mini", [TEXT], NEVER)).toHaveLength(1);
      truncateSync(join(path, "model.safetensors"), 2 ** 20);
      await expect(client.read("mini", [TEXT], NEVER)).rejects.toThrow(/model\.safetensors.*[^.]$/);
      expect(lives).toBe(2);
      await client.close();
      wasFileCut(); // this thread has the same library, and reads only whole files
    },
  );
}
