/** Which of a model's layers an adapter's pieces are for, and whether they fit. Reads headers only. */

import { type AdapterFolder, adapterRefusal, type Pieces } from "./adapter-files.ts";
import type { Adaptable, Experts, Linear, NativeLinear } from "./layers.ts";

export type Plan = MatrixPlan | ExpertsPlan;

/** One matrix of the model's files, and the layers that have its rows. */
export interface MatrixPlan {
  readonly kind: "matrix";
  readonly pieces: Pieces;
  readonly layers: MatrixLayers;
  readonly rank: number;
}

/** The experts of a layer: of all in one piece, or of each in one of its own, for those that have any. */
export interface ExpertsPlan {
  readonly kind: "experts";
  readonly layer: Experts;
  readonly whole: Pieces | null;
  readonly each: ReadonlyMap<number, Pieces>;
  /** The greatest of all. */
  readonly rank: number;
}

type MatrixLayers = readonly [Linear | NativeLinear, ...(Linear | NativeLinear)[]];

/** Throws a `Failure` that names the folder and what of it does not fit. */
export function plansOf(form: AdapterFolder, layers: readonly Adaptable[]): Plan[] {
  const places = placesOf(layers);
  const matrices = new Map<string, MatrixPlan>();
  const experts = new Map<Experts, ExpertsPlan>();
  for (const pieces of form.pieces) {
    const name = commonName(pieces.name);
    const own = places.get(name);
    if (own === undefined) {
      throw adapterRefusal(form.folder, `the model has no projection "${pieces.name}" that can be adapted`);
    }
    if (own.kind === "experts") {
      experts.set(own.layer, withExperts(form, experts.get(own.layer), own, pieces));
      continue;
    }
    if (matrices.has(name)) throw adapterRefusal(form.folder, `"${pieces.name}" is adapted twice`);
    refuseMisfit(form, pieces, own.layers[0].target);
    matrices.set(name, { kind: "matrix", pieces, layers: own.layers, rank: rankOf(pieces, form) });
  }
  return [...matrices.values(), ...experts.values()];
}

/** What is kept of it in memory, as floats whatever they are in the file. */
export function planBytes(plan: Plan): number {
  if (plan.kind === "experts") {
    const { count, rows, columns } = plan.layer.expert_target;
    return FLOAT_BYTES * count * plan.rank * (rows + columns);
  }
  const { layers, rank, pieces } = plan;
  const rows = layers.reduce((all, { target }) => all + (target.picked?.length ?? target.rows), 0);
  return FLOAT_BYTES * (rank * (layers[0].target.columns + rows) + (pieces.lengths === null ? 0 : 2 * rows));
}

const FLOAT_BYTES = 4;

export function rankOf({ down }: Pieces, { turned }: Pick<AdapterFolder, "turned">): number {
  return down.shape[turned || down.shape.length === 3 ? down.shape.length - 2 : 1] ?? 0;
}

type Place =
  | { readonly kind: "matrix"; readonly layers: MatrixLayers }
  | { readonly kind: "experts"; readonly layer: Experts; readonly expert: number | null };

function placesOf(layers: readonly Adaptable[]): ReadonlyMap<string, Place> {
  const places = new Map<string, Place>();
  for (const layer of layers) {
    if ("target" in layer) {
      const name = commonName(layer.target.name);
      const before = places.get(name);
      places.set(name, { kind: "matrix", layers: before?.kind === "matrix" ? [...before.layers, layer] : [layer] });
      continue;
    }
    const { name, count, each } = layer.expert_target;
    places.set(commonName(name), { kind: "experts", layer, expert: null });
    for (let expert = 0; expert < count; expert++) {
      places.set(commonName(each(expert)), { kind: "experts", layer, expert });
    }
  }
  return places;
}

// As MLX, and as those who publish name the matrices of a feed-forward layer.
const FEED_FORWARD: Readonly<Record<string, string>> = { w1: "gate_proj", w2: "down_proj", w3: "up_proj" };

/** What stands before the layers differs from tool to tool: "base_model.model.model.layers.0." and the like. */
function commonName(name: string): string {
  const at = name.lastIndexOf("layers.");
  if (at < 0 || /vision|visual|audio/.test(name.slice(0, at))) return name; // those have layers of their own
  return name.slice(at).replace(/(?<=\.)w[123]$/, (part) => FEED_FORWARD[part] ?? part);
}

interface Wanted {
  readonly rows: number;
  readonly columns: number;
}

function refuseMisfit(form: AdapterFolder, pieces: Pieces, { rows, columns }: Wanted): void {
  const { name, down, up, lengths } = pieces;
  const rank = rankOf(pieces, form);
  const [narrowing, widening] = form.turned
    ? [`${rank},${columns}`, `${rows},${rank}`]
    : [`${columns},${rank}`, `${rank},${rows}`];
  if (rank === 0 || down.shape.join() !== narrowing || up.shape.join() !== widening) {
    throw misfit(form, pieces, `a projection of ${columns} columns and ${rows} rows`);
  }
  if (lengths !== null && lengths.shape.join() !== `${rows}`) {
    const state = `"${name}" must have ${rows} lengths of rows, found shape [${lengths.shape}]`;
    throw adapterRefusal(form.folder, state);
  }
}

function withExperts(
  form: AdapterFolder,
  before: ExpertsPlan | undefined,
  { layer, expert }: { readonly layer: Experts; readonly expert: number | null },
  pieces: Pieces,
): ExpertsPlan {
  const plan = before ?? { kind: "experts", layer, whole: null, each: new Map<number, Pieces>(), rank: 0 };
  const { count, rows, columns } = layer.expert_target;
  const rank = rankOf(pieces, form);
  if (pieces.lengths !== null) {
    throw adapterRefusal(form.folder, `lengths of rows are not computed for experts, found those of "${pieces.name}"`);
  }
  const is_taken = expert === null ? before !== undefined : plan.whole !== null || plan.each.has(expert);
  if (is_taken) throw adapterRefusal(form.folder, `"${pieces.name}" is adapted twice`);
  if (expert !== null) {
    refuseMisfit(form, pieces, { rows, columns });
    return { ...plan, each: new Map([...plan.each, [expert, pieces]]), rank: Math.max(plan.rank, rank) };
  }
  const { down, up } = pieces;
  const fits = `${down.shape} ${up.shape}` === `${count},${rank},${columns} ${count},${rows},${rank}`;
  if (rank > 0 && fits) return { ...plan, whole: pieces, rank };
  throw misfit(form, pieces, `${count} experts of ${columns} columns and ${rows} rows`);
}

function misfit({ folder }: AdapterFolder, { name, down, up }: Pieces, wanted: string) {
  return adapterRefusal(folder, `"${name}" must fit ${wanted}, found shapes [${down.shape}] and [${up.shape}]`);
}
