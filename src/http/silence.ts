/** Says a word within a stream that has brought nothing for a while. Knows no dialect. */

/** `words`: what is said each time that so much has passed without a piece. */
export async function* neverSilent(
  pieces: AsyncGenerator<string, void, undefined>,
  words: () => string,
  silence_ms: () => number,
): AsyncGenerator<string, void, undefined> {
  while (true) {
    const next = pieces.next();
    while (!(await settlesWithin(silence_ms(), next))) yield words();
    const { done, value } = await next;
    if (done === true) return;
    yield value;
  }
}

export async function settlesWithin(time_ms: number, promise: Promise<unknown>): Promise<boolean> {
  const { promise: over, resolve } = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => resolve(false), time_ms);
  const settled = promise.then(
    () => true,
    () => true,
  );
  const is_settled = await Promise.race([settled, over]);
  clearTimeout(timer);
  return is_settled;
}
