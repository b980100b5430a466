/** Which tokens belong before and after a text: what the post-processor says, and what tokenizer_config.json says over it. */

import { isTokenId, type JsonPart } from "./json-part.ts";

/** Token ids. */
export interface Around {
  readonly before: readonly number[];
  readonly after: readonly number[];
}

/** Of two texts that are read as one. */
export interface AroundPair extends Around {
  readonly between: readonly number[];
  /** Whether the second text and what is after it are tokens of another type. */
  readonly second_type: boolean;
}

export interface AroundWishes {
  /** null leaves it to the post-processor. */
  readonly add_bos: boolean | null;
  readonly add_eos: boolean | null;
  readonly bos_token: string | null;
  readonly eos_token: string | null;
}

export function aroundText(
  post_processor: JsonPart | null,
  wishes: AroundWishes,
  idOf: (content: string) => number | null,
): Around {
  const { before, after } = aroundOf(post_processor);
  const bos = wishes.bos_token === null ? null : idOf(wishes.bos_token);
  const eos = wishes.eos_token === null ? null : idOf(wishes.eos_token);
  return {
    before: bos === null || wishes.add_bos === null ? before : wanted(before, bos, wishes.add_bos, "first"),
    after: eos === null || wishes.add_eos === null ? after : wanted(after, eos, wishes.add_eos, "last"),
  };
}

/** What the post-processor says; one that says nothing puts the texts together. */
export function aroundPair(part: JsonPart | null): AroundPair {
  switch (part?.textOrNull("type")) {
    case "TemplateProcessing":
      return pairTemplate(part);
    case "BertProcessing": {
      const sep = [pairId(part, "sep")];
      return { before: [pairId(part, "cls")], between: sep, after: sep, second_type: true };
    }
    case "RobertaProcessing": {
      const sep = pairId(part, "sep");
      return { before: [pairId(part, "cls")], between: [sep, sep], after: [sep], second_type: false };
    }
    case "Sequence": {
      const found = part.parts("processors").map(aroundPair);
      return found.find(({ before, after }) => before.length + after.length > 0) ?? NOTHING_AROUND_PAIR;
    }
    default:
      return NOTHING_AROUND_PAIR;
  }
}

const NOTHING_AROUND: Around = { before: [], after: [] };
const NOTHING_AROUND_PAIR: AroundPair = { ...NOTHING_AROUND, between: [], second_type: false };

function wanted(ids: readonly number[], id: number, is_wanted: boolean, place: "first" | "last"): readonly number[] {
  const others = ids.filter((each) => each !== id);
  if (!is_wanted) return others;
  if (ids.includes(id)) return ids;
  return place === "first" ? [id, ...others] : [...others, id];
}

function aroundOf(part: JsonPart | null): Around {
  if (part === null) return NOTHING_AROUND;
  switch (part.text("type")) {
    case "ByteLevel":
      return NOTHING_AROUND;
    case "TemplateProcessing":
      return aroundTemplate(part);
    case "BertProcessing":
    case "RobertaProcessing":
      return { before: [pairId(part, "cls")], after: [pairId(part, "sep")] };
    case "Sequence":
      return part.parts("processors").map(aroundOf).reduce(wrap, NOTHING_AROUND);
    default:
      throw part.unsupported(`the post-processor ${part.text("type")}`);
  }
}

function wrap(inner: Around, outer: Around): Around {
  return { before: [...outer.before, ...inner.before], after: [...inner.after, ...outer.after] };
}

function aroundTemplate(part: JsonPart): Around {
  const before: number[] = [];
  const after: number[] = [];
  let ids = before;
  for (const item of part.parts("single")) {
    const special = item.partOrNull("SpecialToken");
    if (special === null) ids = after;
    else ids.push(...part.part("special_tokens").part(special.text("id")).tokenIds("ids"));
  }
  return { before, after };
}

/** `pair`: special tokens around the sequences A and B. */
function pairTemplate(part: JsonPart): AroundPair {
  const parts: number[][] = [[], [], []];
  let place = 0;
  let second_type = false;
  for (const item of part.parts("pair")) {
    const special = item.partOrNull("SpecialToken");
    if (special !== null) {
      parts[place]?.push(...part.part("special_tokens").part(special.text("id")).tokenIds("ids"));
      continue;
    }
    const sequence = item.part("Sequence");
    if (sequence.text("id") !== "AB".charAt(place)) throw part.unsupported("a pair that is not A and then B");
    second_type = sequence.value("type_id") === 1;
    place += 1;
  }
  const [before = [], between = [], after = []] = parts;
  return { before, between, after, second_type };
}

/** `["[CLS]", 101]` */
function pairId(part: JsonPart, key: string): number {
  const id = part.list(key)[1];
  if (!isTokenId(id)) throw part.unsupported(`a post-processor whose ${key} has no id`);
  return id;
}
