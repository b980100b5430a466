/** Signatures of thoughts that went to callers whose protocol has no place for them. Knows no wire format. */

// A thought of an agent at work is asked for again within its next few requests.
const SIGNATURES_MAX = 4096;

/** By the thought's hash: whoever sends the thought back has the signature again. */
export class SignedThoughts {
  readonly #signatures = new Map<string, string>();

  keep(thought: string, signature: string): void {
    const [oldest] = this.#signatures.keys();
    if (oldest !== undefined && this.#signatures.size >= SIGNATURES_MAX) this.#signatures.delete(oldest);
    this.#signatures.set(keyOf(thought), signature);
  }

  signatureOf(thought: string): string | null {
    return this.#signatures.get(keyOf(thought)) ?? null;
  }
}

function keyOf(thought: string): string {
  return new Bun.CryptoHasher("sha256").update(thought).digest("base64");
}
