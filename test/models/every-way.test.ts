/** What holds for the fused layers holds for each set of kernels, and for the layers composed as on a genuine mlx-c. */

import { expect, test } from "bun:test";
import { ROOT } from "../root.ts";

const WAYS: readonly (readonly [string, Record<string, string>])[] = [
  ["composed of ordinary operations", { BUNSEN_TEST_EXTRAS: "off" }],
  ["with the portable kernels", { BUNSEN_KERNELS: "portable" }],
];

test.if(process.platform === "linux").each(WAYS)(
  "models %s give mlx-lm's logits and tokens",
  (_, environment) => {
    const run = Bun.spawnSync(
      [
        process.execPath,
        "test",
        "--timeout=60000",
        "./test/models/mlx-lm.test.ts",
        "./test/models/families.test.ts",
        "./test/models/encoders.test.ts",
        "./test/models/kv-bits.test.ts",
      ],
      {
        cwd: ROOT,
        env: { ...process.env, ...environment },
      },
    );
    const output = run.exitCode === 0 ? "" : `${run.stdout}${run.stderr}`;
    expect({ code: run.exitCode, output }).toEqual({ code: 0, output: "" });
  },
  120_000,
);
