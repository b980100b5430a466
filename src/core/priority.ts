/** How urgent a request is against others that wait. */

export const PRIORITY = { high: 0, normal: 1, low: 2 } as const;

export type Priority = (typeof PRIORITY)[keyof typeof PRIORITY];

export interface Urgency {
  readonly priority: Priority;
  /** How long it had waited when it came here. */
  readonly waited_ms: number;
}

// Ageing of 0.1 a second: a class of priority is worth ten seconds of waiting.
const CLASS_MS = 10_000;

/** Lower goes first. All age alike, so who goes before whom never changes. */
export function rankMs({ priority, waited_ms }: Urgency, now_ms: number): number {
  return now_ms - waited_ms + priority * CLASS_MS;
}
