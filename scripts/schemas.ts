/**
 * Asks a running server for answers of each schema in a file of lines (`{"schema": …}`), drawn at temperature 1, and holds
 * those that ended by themselves against an independent validator: `bun scripts/schemas.ts URL MODEL FILE [ANSWERS]`.
 */

import { readFileSync } from "node:fs";
import { Ajv2020 } from "ajv/dist/2020.js";

interface Tally {
  refused: number;
  valid: number;
  cut: number;
  invalid: number;
}

const TOKENS_MAX = 400;
/** Characters of an answer that was cut: its end tells what it went on with. */
const SHOWN = 120;
const [url = "", model = "", file = "", answers = "20"] = process.argv.slice(2);
const tally: Tally = { refused: 0, valid: 0, cut: 0, invalid: 0 };
const lines = readFileSync(file, "utf8").trim().split("\n");
for (const [place, line] of lines.entries()) {
  await ask(place, JSON.parse(line).schema);
  console.log(`${place + 1} of ${lines.length} schemas, ${answers} answers each: ${JSON.stringify(tally)}`);
}
process.exit(tally.invalid === 0 ? 0 : 1);

async function ask(place: number, schema: object): Promise<void> {
  const validate = validatorOf(schema);
  for (let left = Number(answers), round = 0; left > 0; left -= 10, round++) {
    const response = await fetch(new URL("/v1/chat/completions", url), {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        model,
        messages: [{ role: "user", content: "Answer with an example, as JSON." }],
        response_format: { type: "json_schema", json_schema: { name: "answer", schema } },
        temperature: 1,
        n: Math.min(left, 10),
        seed: place * 100 + round,
        max_tokens: TOKENS_MAX,
      }),
    });
    const body = await response.json();
    if (!response.ok) {
      tally.refused += 1;
      console.log(`schema ${place} is refused with ${response.status}: ${body.error?.message}`);
      return;
    }
    for (const { message, finish_reason } of body.choices) count(place, message.content, finish_reason, validate);
  }
}

function count(place: number, text: string, finish_reason: string, validate: (value: unknown) => unknown): void {
  const kind = finish_reason !== "stop" ? "cut" : validate(JSON.parse(text)) ? "valid" : "invalid";
  tally[kind] += 1;
  if (kind === "invalid") console.log(`schema ${place} is broken by ${text}`);
  if (kind === "cut") console.log(`schema ${place} is not ended by … ${JSON.stringify(text.slice(-SHOWN))}`);
}

/** With or without Unicode in expressions: schemas are written for both. */
function validatorOf(schema: object): (value: unknown) => unknown {
  const options = { strict: false, validateFormats: false, logger: false, multipleOfPrecision: 6 } as const;
  const bare = { ...schema, $schema: undefined, id: undefined }; // names of draft 4, which the validator cannot read
  try {
    return new Ajv2020(options).compile(bare);
  } catch {
    return new Ajv2020({ ...options, unicodeRegExp: false }).compile(bare);
  }
}
