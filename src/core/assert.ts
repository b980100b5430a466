/** Assertions are for our own bugs; trouble from the world is a `Failure`. */

export function assert(condition: boolean, fact: string): asserts condition {
  if (!condition) throw new Error(`Assertion failed: ${fact}`);
}
