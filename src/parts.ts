/** Finds what the executable carries. */
import { existsSync } from "node:fs";
import { join } from "node:path";
export interface Parts {
  readonly library_folder: string | null;
  readonly default_model: string | null;
}
export async function unpackParts(_data_folder: string): Promise<Parts> {
  const build = join(import.meta.dir, "../build");
  const model = join(build, "models/SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf");
  return { library_folder: join(build, "native"), default_model: existsSync(model) ? model : null };
}
