/** `--isolation process`, of the compiled executable. */

import { testIsolation } from "../chaos/isolation.ts";
import { EXECUTABLE, IS_COMPILED } from "./executable.ts";

testIsolation([EXECUTABLE], IS_COMPILED);
