/** Schemas whose checks are compiled with their first use: a start that meets no provider does not wait for them. */

import type { TSchema } from "@sinclair/typebox";
import { type TypeCheck, TypeCompiler } from "@sinclair/typebox/compiler";

export function checkedWhenUsed<Schema extends TSchema>(schema: Schema): () => TypeCheck<Schema> {
  let check: TypeCheck<Schema> | null = null;
  return () => {
    check ??= TypeCompiler.Compile(schema);
    return check;
  };
}
