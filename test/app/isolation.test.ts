/** `--isolation process`, from source. */

import { join } from "node:path";
import { testIsolation } from "../chaos/isolation.ts";
import { ROOT } from "../root.ts";

testIsolation([process.execPath, join(ROOT, "src/main.ts")], true);
