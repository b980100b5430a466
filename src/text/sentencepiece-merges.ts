/** Rebuilds the merges of a SentencePiece BPE vocabulary from the scores of its pieces. */

export interface ScoredPiece {
  readonly text: string;
  readonly score: number;
}

interface Merge {
  readonly left: string;
  readonly right: string;
  readonly score: number;
}

/**
 * Every way to put a piece together from two others, best score first; among equals the longer left part, as the
 * conversion of transformers orders them.
 */
export function mergesOf(pieces: readonly ScoredPiece[]): [string, string][] {
  const ranks = new Map(pieces.map((piece, rank) => [piece.text, rank]));
  const rankOf = (text: string) => ranks.get(text) ?? 0;
  const merges: Merge[] = [];
  for (const { text, score } of pieces) {
    const splits: Merge[] = [];
    for (let at = 1; at < text.length; at++) {
      const left = text.slice(0, at);
      const right = text.slice(at);
      if (ranks.has(left) && ranks.has(right)) splits.push({ left, right, score });
    }
    splits.sort((a, b) => rankOf(a.left) - rankOf(b.left) || rankOf(a.right) - rankOf(b.right));
    merges.push(...splits);
  }
  merges.sort((a, b) => b.score - a.score || length(b.left) - length(a.left) || length(b.right) - length(a.right));
  return merges.map(({ left, right }) => [left, right]);
}

/** In characters, as Python counts. */
function length(text: string): number {
  let characters = 0;
  for (const _ of text) characters += 1;
  return characters;
}
