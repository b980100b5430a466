/** Floats of 32 bits as text: base64 of their bytes, little-endian as every machine is that this runs on. */

export function floatsToBase64(floats: Float32Array): string {
  return Buffer.from(floats.buffer, floats.byteOffset, floats.byteLength).toString("base64");
}

export function floatsFromBase64(text: string): Float32Array {
  const bytes = Buffer.from(text, "base64");
  // A copy: the buffer may be a part of a larger one, at an odd place.
  return new Float32Array(Uint8Array.from(bytes).buffer);
}
