/** Seals everything with a new secret. Knows not what is sealed. */

import type { Store } from "./database.ts";
import type { Sealing } from "./sealing.ts";

export interface SealedText {
  /** As it was sealed with, and what its owner knows it by. */
  readonly about: string;
  readonly sealed: string;
}

export interface SealedHolder {
  sealed(): readonly SealedText[];
  /** One that was entered meanwhile stays. */
  replace(text: SealedText, after: string): void;
}

export interface Rotated {
  readonly sealed: number;
  /** What could not be opened, and stays so. */
  readonly lost: readonly string[];
}

export async function rotate(store: Store, sealing: Sealing, holders: readonly SealedHolder[]): Promise<Rotated> {
  const opened: { readonly holder: SealedHolder; readonly text: SealedText; readonly plain: string }[] = [];
  const lost: string[] = [];
  for (const holder of holders) {
    for (const text of holder.sealed()) {
      const plain = await sealing.open(text.sealed, text.about);
      if (plain === null) lost.push(text.about);
      else opened.push({ holder, text, plain });
    }
  }
  const rotation = await sealing.rotate();
  const again = await Promise.all(
    opened.map(async (each) => ({ ...each, after: await sealing.seal(each.plain, each.text.about) })),
  );
  store.tables.transaction(() => {
    for (const { holder, text, after } of again) holder.replace(text, after);
  });
  await rotation.done();
  return { sealed: again.length, lost };
}
