/** Who starts when, and who is refused. */

import { expect, test } from "bun:test";
import type { Failure } from "../../src/core/failure.ts";
import { PRIORITY, type Priority } from "../../src/core/priority.ts";
import { type Place, RequestQueue } from "../../src/schedule/queue.ts";
import { integer, seeded } from "../random.ts";

const NEVER = new AbortController().signal;
const PRIORITIES = [PRIORITY.high, PRIORITY.normal, PRIORITY.low] as const;

/** A queue on a clock that only the test moves. */
class Desk {
  now_ms = 0;
  readonly queue: RequestQueue;
  readonly started: { readonly name: string; readonly place: Place }[] = [];

  constructor(rows_max: number, queue_max: number) {
    this.queue = new RequestQueue({ rows_max, queue_max }, () => this.now_ms);
  }

  ask(name: string, priority: Priority = PRIORITY.normal, model = "a", signal = NEVER): Promise<void> {
    return this.queue
      .enter({ request_id: name, model, priority }, signal)
      .then((place) => void this.started.push({ name, place }));
  }

  /** Ends who started first, and tells who started since. */
  async next(): Promise<string[]> {
    this.started.shift()?.place[Symbol.dispose]();
    await Promise.resolve();
    await Promise.resolve();
    await Promise.resolve();
    return this.started.map(({ name }) => name);
  }
}

const refusalOf = (promise: Promise<unknown>) =>
  promise.then(
    () => null,
    (error: unknown) => error as Failure,
  );

test("as many as may run start at once, of each model; the next when one has ended", async () => {
  const desk = new Desk(2, 10);
  for (const name of ["1", "2", "3"]) void desk.ask(name);
  void desk.ask("other", PRIORITY.normal, "b");
  await Bun.sleep(0);
  expect(desk.started.map(({ name }) => name)).toEqual(["1", "2", "other"]);
  expect(desk.queue.waiting).toBe(1);
  expect(await desk.next()).toEqual(["2", "other", "3"]);
});

test("LOW goes before NORMAL that came 10 s later and before HIGH that came 20 s later, not a moment sooner", async () => {
  const first = async (priority: Priority, later_ms: number) => {
    const desk = new Desk(1, 10);
    void desk.ask("running");
    void desk.ask("low", PRIORITY.low);
    desk.now_ms = later_ms;
    void desk.ask("later", priority);
    await Bun.sleep(0);
    return (await desk.next())[0];
  };
  expect([await first(PRIORITY.normal, 9_999), await first(PRIORITY.normal, 10_000)]).toEqual(["later", "low"]);
  expect([await first(PRIORITY.high, 19_999), await first(PRIORITY.high, 20_000)]).toEqual(["later", "low"]);
});

test("beyond queue_max a request is refused, and told when half of those before it will have started", async () => {
  const desk = new Desk(1, 20);
  void desk.ask("0");
  await Bun.sleep(0);
  for (let count = 1; count <= 20; count++) void desk.ask(String(count));
  const refused = await refusalOf(desk.ask("21"));
  expect(refused).toMatchObject({ kind: "overloaded", retry_after_s: 1 });
  expect(refused?.message).toBe("Cannot take the request: 20 wait already, at most 20 may");
  for (let count = 1; count <= 5; count++) {
    desk.now_ms += 2_000;
    await desk.next();
    void desk.ask("more");
  }
  // five ended in eight seconds, twenty wait
  expect((await refusalOf(desk.ask("late")))?.retry_after_s).toBe(16);
});

test("who leaves while it waits takes no place", async () => {
  const desk = new Desk(1, 1);
  const controller = new AbortController();
  void desk.ask("1");
  const left = refusalOf(desk.ask("2", PRIORITY.high, "a", controller.signal));
  controller.abort(new Error("gone"));
  expect((await left)?.message).toBe("gone");
  expect(desk.queue.waiting).toBe(0);
  void desk.ask("3");
  await Bun.sleep(0);
  expect(await desk.next()).toEqual(["3"]);
});

test.each([1, 2, 3])("nobody starves, and the most urgent starts first (seed %d)", async (seed) => {
  const random = seeded(seed);
  const desk = new Desk(1, 1000);
  const asked = new Map<string, { readonly priority: Priority; readonly came_ms: number }>();
  const waits = new Map<Priority, number[]>(PRIORITIES.map((priority) => [priority, []]));
  void desk.ask("first");
  await Bun.sleep(0);
  for (let count = 0; count < 600 || asked.size > 0; ) {
    desk.now_ms += integer(random, 1, 1000);
    while (count < 600 && random() < 0.5) {
      const priority = PRIORITIES[integer(random, 0, 2)] ?? PRIORITY.normal;
      asked.set(String(++count), { priority, came_ms: desk.now_ms });
      void desk.ask(String(count), priority);
    }
    const urgency = ([, { priority, came_ms }]: [string, { priority: Priority; came_ms: number }]) =>
      priority * 10_000 + came_ms;
    const [expected] = [...asked].sort((left, right) => urgency(left) - urgency(right));
    const [started] = await desk.next();
    expect(started).toBe(expected?.[0] as string);
    if (expected === undefined) void (await desk.ask("idle"));
    else {
      waits.get(expected[1].priority)?.push(desk.now_ms - expected[1].came_ms);
      expect(desk.started[0]?.place.waited_ms).toBe(desk.now_ms - expected[1].came_ms);
      asked.delete(expected[0]);
    }
  }
  const longest = PRIORITIES.map((priority) => Math.max(...(waits.get(priority) ?? [])));
  expect(longest[0]).toBeLessThan(longest[1] ?? 0);
  expect(longest[1]).toBeLessThan(longest[2] ?? 0);
});
