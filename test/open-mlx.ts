/** Opens the built MLX library once for all tests of one process. */

import { join } from "node:path";
import { findLibrary } from "../src/mlx/discovery.ts";
import { openLibrary } from "../src/mlx/library.ts";
import { ROOT } from "./root.ts";

export const LIBRARY = findLibrary(
  {
    named: null,
    own_folder: join(ROOT, "build/native"),
    homebrew_folders: process.platform === "darwin" ? ["/opt/homebrew/lib", "/usr/local/lib"] : [],
  },
  process.platform,
);

const opened = globalThis as { bunsen_test_library?: ReturnType<typeof openLibrary> };
opened.bunsen_test_library ??= openLibrary(LIBRARY);
