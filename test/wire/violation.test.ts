/** How a departure from a schema is put in words. */

import { describe, expect, test } from "bun:test";
import { Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import { Failure } from "../../src/core/failure.ts";
import { optional, strictObject } from "../../src/wire/schema.ts";
import { called, notYet, violation } from "../../src/wire/violation.ts";

const shape = Type.Union([Type.Literal("round"), Type.Literal("square")], notYet("star"));
const schema = strictObject(
  {
    count: optional(Type.Integer({ minimum: 2 })),
    share: optional(Type.Number()),
    shapes: optional(Type.Array(strictObject({ shape, note: Type.String() }, ["colour"]), { ...called("shapes") })),
    either: optional(Type.Union([Type.Boolean(), Type.Array(Type.String(), { minItems: 1 })])),
  },
  ["size"],
);

function sentence(value: unknown): string {
  const failure = violation(Value.Errors(schema, value));
  return `${failure.kind}: ${failure.message}`;
}

describe("a departure is told", () => {
  const cases: [unknown, string][] = [
    [7, "invalid_request: Cannot use the request: expected an object, found 7"],
    [[], "invalid_request: Cannot use the request: expected an object, found an array of 0 items"],
    [{ count: 1 }, 'invalid_request: Cannot use "count": expected an integer of at least 2, found 1'],
    [{ count: "2" }, 'invalid_request: Cannot use "count": expected an integer of at least 2, found "2"'],
    [{ share: "x" }, 'invalid_request: Cannot use "share": expected a number, found "x"'],
    [{ size: 1 }, 'unsupported: Cannot use "size": it is not supported yet'],
    [{ sizes: 1 }, 'invalid_request: Cannot use "sizes": there is no such parameter'],
    [{ "": 1 }, 'invalid_request: Cannot use "": there is no such parameter'],
    [{ "5": 1 }, 'invalid_request: Cannot use "5": there is no such parameter'],
    [{ "a/b~c": 1 }, 'invalid_request: Cannot use "a/b~c": there is no such parameter'],
    [{ shapes: {} }, 'invalid_request: Cannot use "shapes": expected an array of shapes, found an empty object'],
    [
      { shapes: [{ shape: "round" }] },
      'invalid_request: Cannot use the request: "shapes[0].note" is missing, expected a text',
    ],
    [
      { shapes: [{ note: "" }] },
      'invalid_request: Cannot use the request: "shapes[0].shape" is missing, expected "round" or "square"',
    ],
    [
      { shapes: [{ shape: "round", note: "", colour: 1 }] },
      'unsupported: Cannot use "shapes[0].colour": it is not supported yet',
    ],
    [
      { either: 1 },
      'invalid_request: Cannot use "either": expected true or false or an array of items that is not empty, found 1',
    ],
    [{ either: ["a", 1] }, 'invalid_request: Cannot use "either[1]": expected a text, found 1'],
  ];
  for (const [value, expected] of cases) {
    test(JSON.stringify(value), () => {
      expect(sentence(value)).toBe(expected);
    });
  }
});

test("what is too little or too much is told as that", () => {
  const body = Type.Object({ name: optional(Type.String({ minLength: 1, maxLength: 4 })) }, { minProperties: 1 });
  const told = (value: unknown) => violation(Value.Errors(body, value)).message;
  expect(told({})).toBe("Cannot use the request: expected an object that is not empty, found an empty object");
  expect(told({ name: "longer" })).toBe('Cannot use "name": expected a text of 1 to 4 characters, found "longer"');
});

test("a wrong choice goes before the other faults it brings", () => {
  const value = { shapes: [{ shape: "star", points: 5 }], extra: 1 };
  expect(sentence(value)).toBe(
    'unsupported: Cannot use "shapes[0].shape": "star" is not supported yet, expected "round" or "square"',
  );
});

test("a name of a million characters is shown in part", () => {
  const name = "\u{1f600}".repeat(500_000);
  const failure = violation(Value.Errors(schema, { [name]: 1 }));
  expect(failure).toBeInstanceOf(Failure);
  expect(failure.message.length).toBeLessThan(120);
  expect(failure.message.isWellFormed()).toBe(true);
});

test("of a million faults only a few are read", () => {
  let read = 0;
  function* counted() {
    const texts = Array.from({ length: 1_000_000 }, () => "x");
    for (const error of Value.Errors(Type.Array(Type.Integer()), texts)) {
      read++;
      yield error;
    }
  }
  expect(violation(counted()).parameter).toBe("0");
  expect(read).toBeLessThan(100);
});
