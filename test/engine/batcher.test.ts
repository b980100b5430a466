import { expect, test } from "bun:test";
import { Batcher } from "../../src/engine/batcher.ts";
import { integer, seeded } from "../random.ts";

const STOP = 99;
const limits = (tokens_max: number) => ({ tokens_max, stop_token_ids: new Set([STOP]) });

test("a prompt goes through in chunks and only its last chunk draws", () => {
  const batcher = new Batcher(4);
  batcher.join(1, [10, 11, 12, 13, 14, 15], limits(5));
  const [first] = batcher.next();
  expect(first).toEqual({ id: 1, token_ids: [10, 11, 12, 13], draws: false });
  if (first !== undefined) batcher.commit(first, null);
  expect(batcher.next()).toEqual([{ id: 1, token_ids: [14, 15], draws: true }]);
});

test("a stop token ends the row and is not reported", () => {
  const batcher = new Batcher(4);
  batcher.join(1, [10], limits(5));
  const [part] = batcher.next();
  if (part === undefined) throw new Error("nothing planned");
  expect(batcher.commit(part, STOP)).toEqual({ token_ids: [], finish: "stop" });
});

test("a row ends by length at exactly its limit", () => {
  const batcher = new Batcher(4);
  batcher.join(1, [10], limits(2));
  const outcomes = [7, 8].map((token) => {
    const [part] = batcher.next();
    if (part === undefined) throw new Error("nothing planned");
    return batcher.commit(part, token);
  });
  expect(outcomes).toEqual([
    { token_ids: [7], finish: null },
    { token_ids: [8], finish: "length" },
  ]);
});

test("running rows step while another's long prompt is read", () => {
  const batcher = new Batcher(2);
  batcher.join(1, [10], limits(50));
  for (const part of batcher.next()) batcher.commit(part, 5);
  batcher.join(2, [20, 21, 22, 23], limits(50));
  expect(batcher.next().map((part) => [part.id, part.token_ids])).toEqual([
    [1, [5]],
    [2, [20, 21]],
  ]);
});

for (const seed of [1, 2, 3]) {
  test(`every row of a random load is fed its prompt once, in order, and ends (seed ${seed})`, () => {
    const random = seeded(seed);
    const batcher = new Batcher(integer(random, 1, 9));
    const fed = new Map<number, number[]>();
    const wanted = new Map<number, number[]>();
    let joined = 0;
    for (let step = 0; step < 3000; step++) {
      if (joined < 200 && random() < 0.3) {
        joined += 1;
        const prompt = Array.from({ length: integer(random, 1, 40) }, () => integer(random, 0, 50));
        batcher.join(joined, prompt, limits(integer(random, 1, 20)));
        wanted.set(joined, [...prompt]);
        fed.set(joined, []);
      }
      for (const part of batcher.next()) {
        fed.get(part.id)?.push(...part.token_ids);
        const token = part.draws ? integer(random, 50, STOP) : null;
        const { token_ids, finish } = batcher.commit(part, token);
        if (finish !== null) batcher.leave(part.id);
        else wanted.get(part.id)?.push(...token_ids);
      }
    }
    expect(joined).toBe(200);
    expect(batcher.size).toBe(0);
    expect(fed).toEqual(wanted);
  });
}
