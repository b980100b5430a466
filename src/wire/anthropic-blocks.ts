/** Anthropic's messages: what a user or a tool says and shows, block by block, as one text with pictures in it. */

import { type Static, Type } from "@sinclair/typebox";
import type { PlacedImage } from "../core/generation.ts";
import { optional, strictObject } from "./schema.ts";
import { called, notYet } from "./violation.ts";

/** What is computed once is kept, marked or not; a mark changes nothing, so it is never wrong. */
export const cacheControl = optional(
  strictObject(
    {
      type: Type.Literal("ephemeral"),
      ttl: optional(Type.Union([Type.Literal("5m"), Type.Literal("1h")])),
      scope: optional(Type.Literal("global", { description: "Whoever asks finds what was kept." })),
    },
    [],
    { description: "Every prompt is kept for the next that begins like it, with this mark or without." },
  ),
);

export const textBlock = strictObject(
  {
    type: Type.Literal("text"),
    text: Type.String(),
    cache_control: cacheControl,
    citations: optional(
      Type.Array(Type.Unknown(), {
        maxItems: 0,
        description: "As our own answers carry it, so that one can be sent back.",
        ...called("citations"),
      }),
    ),
  },
  [],
);

export const imageBlock = strictObject(
  {
    type: Type.Literal("image"),
    source: Type.Union(
      [
        strictObject(
          {
            type: Type.Literal("base64"),
            media_type: Type.Union(
              (["image/jpeg", "image/png", "image/gif", "image/webp"] as const).map((type) => Type.Literal(type)),
            ),
            data: Type.String({ minLength: 1 }),
          },
          [],
        ),
        strictObject({ type: Type.Literal("url"), url: Type.String({ minLength: 1 }) }, []),
      ],
      notYet("file"),
    ),
    cache_control: cacheControl,
  },
  ["transformations"],
);

const citations = optional(
  strictObject(
    { enabled: Type.Optional(Type.Literal(false, { ...notYet(true), description: "An answer cites nothing." })) },
    [],
  ),
);

export const documentBlock = strictObject(
  {
    type: Type.Literal("document"),
    source: Type.Union(
      [
        strictObject({ type: Type.Literal("text"), media_type: Type.Literal("text/plain"), data: Type.String() }, []),
        strictObject(
          {
            type: Type.Literal("content"),
            content: Type.Union([
              Type.String(),
              Type.Array(Type.Union([textBlock, imageBlock]), called("text or image blocks")),
            ]),
          },
          [],
        ),
      ],
      notYet("base64", "url", "file"),
    ),
    title: optional(Type.String()),
    context: optional(Type.String({ description: "What the document is." })),
    citations,
    cache_control: cacheControl,
  },
  [],
);

export const searchResultBlock = strictObject(
  {
    type: Type.Literal("search_result"),
    source: Type.String(),
    title: Type.String(),
    content: Type.Array(textBlock, called("text blocks")),
    citations,
    cache_control: cacheControl,
  },
  [],
);

type TextBlock = Static<typeof textBlock>;
type ImageBlock = Static<typeof imageBlock>;
type DocumentBlock = Static<typeof documentBlock>;
type SearchResultBlock = Static<typeof searchResultBlock>;
type Block = TextBlock | ImageBlock | DocumentBlock | SearchResultBlock;

export interface Seen {
  readonly content: string;
  /** Absent where there are none. */
  readonly images?: readonly PlacedImage[];
}

/** Blocks of a caller stand for themselves, so a model must see where one ends. */
export const BETWEEN_BLOCKS = "\n\n";

export function seenIn(blocks: readonly Block[], between = BETWEEN_BLOCKS): Seen {
  return joinedSights(blocks.map(sightOf), between);
}

/** Their images stand where their texts do. */
export function joinedSights(sights: readonly Seen[], between = BETWEEN_BLOCKS): Seen {
  const images: PlacedImage[] = [];
  let content: string | null = null;
  for (const sight of sights) {
    const is_shown = sight.content === "" && sight.images !== undefined; // a picture alone says no words
    const lead: string = content === null || is_shown ? (content ?? "") : content + between;
    for (const image of sight.images ?? []) images.push({ ...image, at: lead.length + image.at });
    content = is_shown ? content : lead + sight.content;
  }
  return images.length === 0 ? { content: content ?? "" } : { content: content ?? "", images };
}

function sightOf(block: Block): Seen {
  switch (block.type) {
    case "text":
      return { content: block.text };
    case "image":
      return { content: "", images: [{ at: 0, source: sourceOf(block.source) }] };
    case "document":
      return tagged("document", { title: block.title, context: block.context }, documentText(block));
    case "search_result":
      return tagged("search_result", { title: block.title, source: block.source }, seenIn(block.content));
  }
}

function documentText({ source }: DocumentBlock): Seen {
  if (source.type === "text") return { content: source.data };
  return typeof source.content === "string" ? { content: source.content } : seenIn(source.content);
}

/** As Anthropic tells its own models to be given documents: between tags, what is known of them in tags of its own. */
function tagged(name: string, known: Readonly<Record<string, string | null | undefined>>, inner: Seen): Seen {
  const facts = Object.entries(known).flatMap(([key, value]) => (value ? [`<${key}>${value}</${key}>`] : []));
  const lead = { content: [`<${name}>`, ...facts, ""].join("\n") };
  return joinedSights([lead, inner, { content: `\n</${name}>` }], "");
}

function sourceOf(source: ImageBlock["source"]): PlacedImage["source"] {
  if (source.type === "url") return { kind: "url", url: source.url };
  return { kind: "data", media_type: source.media_type, base64: source.data };
}
