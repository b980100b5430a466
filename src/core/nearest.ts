/** Which of some names a misspelt one may have meant. Knows no parameters. */

/** null: it is like none of them. */
export function nearest(name: string, known: readonly string[]): string | null {
  if (name.length > LENGTH_MAX) return null;
  const bare = bareOf(name);
  const letters = lettersOf(bare);
  const same =
    known.find((other) => bareOf(other) === bare) ?? known.find((other) => lettersOf(bareOf(other)) === letters);
  if (same !== undefined) return same;
  const edits_max = Math.floor(bare.length / LETTERS_AN_EDIT);
  const near = known.map((other) => ({ other, edits: editsBetween(bare, bareOf(other)) }));
  const [best] = near.filter(({ edits }) => edits <= edits_max).sort((one, two) => one.edits - two.edits);
  return best?.other ?? null;
}

const LETTERS_AN_EDIT = 5; // "seed" is no "speed", "stops" is "stop"
const LENGTH_MAX = 64; // no name is as long, and the work grows with its square

/** Camels, kebabs and snakes are one. */
function bareOf(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]/g, "");
}

/** Those of a name in which some changed places. */
function lettersOf(bare: string): string {
  return [...bare].sort().join("");
}

/** Letters put in, left out or changed. */
function editsBetween(one: string, two: string): number {
  let row = Array.from({ length: two.length + 1 }, (_, index) => index);
  for (const [place, letter] of [...one].entries()) {
    const next = [place + 1];
    for (const [index, other] of [...two].entries()) {
      const changed = (row[index] ?? 0) + (letter === other ? 0 : 1);
      next.push(Math.min(changed, (row[index + 1] ?? 0) + 1, (next[index] ?? 0) + 1));
    }
    row = next;
  }
  return row[two.length] ?? 0;
}
