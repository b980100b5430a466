/** What a user or a tool says and shows, piece by piece in its order, for protocols whose content is a list of parts. */

import type { PlacedImage, ToolResult, UserMessage } from "../../core/generation.ts";

export type Piece =
  | { readonly kind: "text"; readonly text: string }
  | ({ readonly kind: "image" } & Omit<PlacedImage, "at">);

export function piecesOf({ content, images = [] }: UserMessage | ToolResult): readonly Piece[] {
  let from = 0;
  const pieces = images.flatMap(({ at, ...image }): Piece[] => {
    const text = content.slice(from, at);
    from = at;
    return [
      { kind: "text", text },
      { kind: "image", ...image },
    ];
  });
  const all: readonly Piece[] = [...pieces, { kind: "text", text: content.slice(from) }];
  return all.filter((piece) => piece.kind === "image" || piece.text !== "");
}
