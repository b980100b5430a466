/** How urgent a request is against others that wait. */

export const PRIORITY = { high: 0, normal: 1, low: 2 } as const;

export type Priority = (typeof PRIORITY)[keyof typeof PRIORITY];
