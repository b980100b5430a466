/** The signatures of thoughts. One of ours is the thought itself: a caller who was not shown it can still send it back. */

const MARK = "bunsen.";

export function signatureOf(thought: string): string {
  return MARK + Buffer.from(thought).toString("base64");
}

/** Empty where somebody else has signed. */
export function thoughtIn(signature: string): string {
  return signature.startsWith(MARK) ? Buffer.from(signature.slice(MARK.length), "base64").toString() : "";
}
