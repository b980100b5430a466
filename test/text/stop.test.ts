/** Stop strings over chunk borders, against the obvious search in the whole text. */

import { describe, expect, test } from "bun:test";
import { StopFinder } from "../../src/text/stop.ts";
import { integer, seeded } from "../random.ts";
import { testSeed } from "./random-text.ts";

/** The shortest beginning of `text` that holds a stop string, cut where that string begins. */
function obvious(text: string, stops: readonly string[]): { text: string; found: string | null } {
  for (let end = 1; end <= text.length; end++) {
    const begun = text.slice(0, end);
    const [longest] = stops.filter((stop) => begun.endsWith(stop)).sort((one, other) => other.length - one.length);
    if (longest !== undefined) return { text: text.slice(0, end - longest.length), found: longest };
  }
  return { text, found: null };
}

function inChunks(chunks: readonly string[], stops: readonly string[]): { text: string; found: string | null } {
  const finder = new StopFinder(stops);
  let sent = "";
  for (const chunk of chunks) {
    const { text, found } = finder.push(chunk);
    sent += text;
    if (found !== null) return { text: sent, found };
  }
  return { text: sent + finder.flush(), found: null };
}

function randomChunks(text: string, random: () => number): string[] {
  const chunks: string[] = [];
  for (let at = 0; at < text.length; ) {
    const end = at + integer(random, 0, 4);
    chunks.push(text.slice(at, end));
    at = end;
  }
  return chunks;
}

describe("StopFinder", () => {
  test("finds what the obvious search finds, however the text is cut", () => {
    const random = seeded(testSeed("stop strings"));
    const word = (length_max: number) =>
      Array.from({ length: integer(random, 1, length_max) }, () => "ab\n"[integer(random, 0, 2)]).join("");
    let found_count = 0;
    for (let round = 0; round < 20_000; round++) {
      const stops = Array.from({ length: integer(random, 0, 3) }, () => word(5));
      const text = word(24);
      const chunks = randomChunks(text, random);
      const expected = obvious(text, stops);
      expect({ stops, chunks, ...inChunks(chunks, stops) }).toEqual({ stops, chunks, ...expected });
      if (expected.found !== null) found_count += 1;
    }
    expect(found_count).toBeGreaterThan(5000);
  });

  test("holds back only what may still become a stop string", () => {
    const finder = new StopFinder(["\n\nUser:"]);
    expect(finder.push("Hello\n")).toEqual({ text: "Hello", found: null });
    expect(finder.push("\nUs")).toEqual({ text: "", found: null });
    expect(finder.push("e it")).toEqual({ text: "\n\nUse it", found: null });
    expect(finder.flush()).toBe("");
  });

  test("sends nothing after a stop string was found", () => {
    const finder = new StopFinder(["STOP"]);
    expect(finder.push("a STOP b")).toEqual({ text: "a ", found: "STOP" });
    expect(finder.push("c")).toEqual({ text: "", found: "STOP" });
    expect(finder.flush()).toBe("");
  });

  test("an empty stop string stops nothing", () => {
    expect(inChunks(["a", "b"], [""])).toEqual({ text: "ab", found: null });
  });
});
