/** Cuts a stream of server-sent events at their ends, so that half an event is never passed on. Knows no protocol. */

import { faltering } from "./upstream-failure.ts";

/** Beyond any image or tool call in one event: what is longer has no end. */
const EVENT_BYTES_MAX = 16 * 2 ** 20;

/** Pieces of one or more whole events; together the same bytes as came, up to the last whole event. */
export async function* wholeEvents(
  chunks: AsyncIterable<Uint8Array>,
  provider: string,
): AsyncGenerator<Buffer, void, undefined> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of chunks) {
    const bytes = rest.length === 0 ? Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length) : joined(rest, chunk);
    const end = lastEventEnd(bytes);
    rest = bytes.subarray(end);
    if (rest.length > EVENT_BYTES_MAX) {
      throw faltering("upstream", `Cannot read ${provider}: an event of its stream exceeds ${EVENT_BYTES_MAX} bytes`);
    }
    if (end > 0) yield bytes.subarray(0, end);
  }
  // Some servers leave out the empty line after their last word.
  if (rest.toString().trim() === "data: [DONE]") return yield rest;
  if (rest.length > 0) throw faltering("upstream", `Cannot read ${provider}: its stream ended within an event`);
}

/** The data of each event, its lines joined. */
export function* eventData(piece: Buffer): Generator<string, void, undefined> {
  for (const block of piece.toString().split(/\r?\n\r?\n/)) {
    const lines = block.split(/\r?\n/).filter((line) => line.startsWith("data:"));
    if (lines.length > 0) yield lines.map((line) => line.slice("data:".length).trimStart()).join("\n");
  }
}

function joined(rest: Buffer, chunk: Uint8Array): Buffer {
  return Buffer.concat([rest, chunk]);
}

function lastEventEnd(bytes: Buffer): number {
  const newline = bytes.lastIndexOf("\n\n");
  const carriage = bytes.lastIndexOf("\r\n\r\n");
  return Math.max(newline < 0 ? 0 : newline + 2, carriage < 0 ? 0 : carriage + 4);
}
