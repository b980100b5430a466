/** Reads what somebody else sends, and never more than a limit. */

/** null: there is more; what was read is lost, and whoever makes the chunks has been told to stop. */
export async function readUpTo(chunks: AsyncIterable<Uint8Array>, bytes_max: number): Promise<Buffer | null> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    if (bytes > bytes_max) return null;
    parts.push(chunk);
  }
  return Buffer.concat(parts);
}
