/** Encoders to try things on: the real one that set-up fetches, tiny random ones, and what numpy makes of them. */

import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { PACKAGES } from "../python.ts";
import { seeded } from "../random.ts";
import { ROOT } from "../root.ts";

const MINILM = join(ROOT, "build/models/all-MiniLM-L6-v2");

export function minilm(): string {
  if (existsSync(join(MINILM, "model.safetensors"))) return MINILM;
  throw new Error(`${MINILM} is missing; "node scripts/setup.mjs --oracles" fetches it`);
}

export interface OracleAnswer {
  readonly token_ids: readonly number[][];
  readonly values: readonly number[][];
}

type OracleQuestion =
  | { readonly texts: readonly (string | readonly string[])[]; readonly tokens_max: number }
  | { readonly token_ids: readonly (readonly number[])[]; readonly types: readonly (readonly number[])[] };

export function askNumpy(folder: string, question: OracleQuestion): OracleAnswer {
  const run = Bun.spawnSync(["python3", join(ROOT, "test/models/encoder-oracle.py"), folder], {
    stdin: Buffer.from(JSON.stringify(question)),
    env: { PATH: process.env["PATH"], PYTHONPATH: PACKAGES },
  });
  if (!run.success) throw new Error(run.stderr.toString());
  return JSON.parse(run.stdout.toString());
}

export const TINY = { hidden_size: 32, layers: 2, heads: 4, vocabulary_size: 90, intermediate_size: 48, positions: 70 };

type Family = "bert" | "roberta" | "xlm-roberta";

const ARCHITECTURES = { bert: "Bert", roberta: "Roberta", "xlm-roberta": "XLMRoberta" } as const;

/** Writes a random model of the family into the folder. */
export function writeTinyEncoder(folder: string, type: Family, classifies: boolean): string {
  const is_bert = type === "bert";
  const config = {
    model_type: type,
    architectures: [`${ARCHITECTURES[type]}${classifies ? "ForSequenceClassification" : "Model"}`],
    hidden_size: TINY.hidden_size,
    intermediate_size: TINY.intermediate_size,
    num_hidden_layers: TINY.layers,
    num_attention_heads: TINY.heads,
    vocab_size: TINY.vocabulary_size,
    max_position_embeddings: TINY.positions,
    type_vocab_size: is_bert ? 2 : 1,
    pad_token_id: is_bert ? 0 : 1,
    layer_norm_eps: 1e-5,
    ...(classifies ? { id2label: { "0": "LABEL_0" } } : {}),
  };
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "model.safetensors"), randomTensors(shapesOf(is_bert, classifies)));
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
  return folder;
}

type Shapes = Map<string, readonly number[]>;

function shapesOf(is_bert: boolean, classifies: boolean): Shapes {
  const { hidden_size: h, intermediate_size, vocabulary_size, positions } = TINY;
  const own = is_bert ? "bert." : "roberta.";
  const prefix = classifies ? own : "";
  const shapes: Shapes = new Map([
    [`${prefix}embeddings.word_embeddings.weight`, [vocabulary_size, h]],
    [`${prefix}embeddings.position_embeddings.weight`, [positions, h]],
    [`${prefix}embeddings.token_type_embeddings.weight`, [is_bert ? 2 : 1, h]],
  ]);
  const linear = (name: string, rows: number, columns: number) =>
    shapes.set(`${name}.weight`, [rows, columns]).set(`${name}.bias`, [rows]);
  const norm = (name: string) => shapes.set(`${name}.weight`, [h]).set(`${name}.bias`, [h]);
  norm(`${prefix}embeddings.LayerNorm`);
  for (let layer = 0; layer < TINY.layers; layer++) {
    const name = `${prefix}encoder.layer.${layer}`;
    for (const part of ["self.query", "self.key", "self.value", "output.dense"])
      linear(`${name}.attention.${part}`, h, h);
    norm(`${name}.attention.output.LayerNorm`);
    linear(`${name}.intermediate.dense`, intermediate_size, h);
    linear(`${name}.output.dense`, h, intermediate_size);
    norm(`${name}.output.LayerNorm`);
  }
  if (!classifies) return shapes;
  linear(is_bert ? "bert.pooler.dense" : "classifier.dense", h, h);
  linear(is_bert ? "classifier" : "classifier.out_proj", 1, h);
  return shapes;
}

function randomTensors(shapes: ReadonlyMap<string, readonly number[]>): Uint8Array {
  const random = seeded(5);
  const header: Record<string, object> = {};
  const values: number[] = [];
  for (const [name, shape] of shapes) {
    const count = shape.reduce((product, size) => product * size, 1);
    const begin = 4 * values.length;
    header[name] = { dtype: "F32", shape, data_offsets: [begin, begin + 4 * count] };
    for (let index = 0; index < count; index++) values.push(random() - 0.5);
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, Buffer.from(Float32Array.from(values).buffer)]);
}
