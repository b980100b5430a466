/** Opens the built MLX library once for all tests of one process. */

import { join } from "node:path";
import { PRIORITY } from "../src/core/priority.ts";
import { defaultSettings, type EngineSettings } from "../src/core/settings.ts";
import { findLibrary } from "../src/mlx/discovery.ts";
import { openExtras } from "../src/mlx/extras.ts";
import { openLibrary } from "../src/mlx/library.ts";
import type { EngineParts } from "../src/worker/messages.ts";
import { ROOT } from "./root.ts";

export const LIBRARY = findLibrary(
  {
    named: null,
    own_folder: process.env["BUNSEN_TEST_LIBRARIES"] ?? join(ROOT, "build/native"), // scripts/sanitize.sh has its own
    homebrew_folders: process.platform === "darwin" ? ["/opt/homebrew/lib", "/usr/local/lib"] : [],
  },
  process.platform,
);

export const WITH_EXTRAS = process.env["BUNSEN_TEST_EXTRAS"] !== "off";

export const AT_ONCE = { priority: PRIORITY.normal, waited_ms: 0 } as const;

export const ENGINE_SETTINGS = defaultSettings(2 ** 30);

/** An engine that keeps its blocks in `folder`. */
export function engineParts(folder: string, settings: Partial<EngineSettings> = {}): EngineParts {
  return {
    library: LIBRARY,
    settings: { ...ENGINE_SETTINGS, ...settings },
    blocks: { folder: join(folder, "blocks"), version: "test" },
  };
}

const opened = globalThis as { bunsen_test_library?: ReturnType<typeof openLibrary> };
if (opened.bunsen_test_library === undefined) {
  opened.bunsen_test_library = openLibrary(LIBRARY);
  openExtras(LIBRARY, WITH_EXTRAS);
}
