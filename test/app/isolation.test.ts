/** `--isolation process`, from source. */

import { testIsolation } from "../chaos/isolation.ts";
import { SOURCE } from "../served.ts";

testIsolation(SOURCE, true);
