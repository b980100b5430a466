/** Quantised weights as MLX packs them. */

/** Element `index` of weights packed one after the other in 32-bit words. */
export function unpack(words: Uint32Array, index: number, bits: number): number {
  const bit = index * bits;
  const [word, shift] = [bit >>> 5, bit & 31];
  const low = (words[word] ?? 0) >>> shift;
  const high = shift + bits > 32 ? (words[word + 1] ?? 0) << (32 - shift) : 0;
  return (low | high) & (2 ** bits - 1);
}
