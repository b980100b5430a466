/** Weights files are hostile input: each refusal is a sentence that says what is wrong with which tensor. */

import { beforeAll, expect, test } from "bun:test";
import { cpSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Failure } from "../../src/core/failure.ts";
import { arrayCounts } from "../../src/mlx/array.ts";
import { loadModel } from "../../src/models/load.ts";
import { ggufBytes, value } from "../formats/gguf-bytes.ts";
import { f32Entry, safetensorsBytes } from "../formats/safetensors-bytes.ts";
import { integer, seeded } from "../random.ts";
import "../open-mlx.ts";
import { fixture, prepareFixtures } from "./fixtures.ts";

beforeAll(prepareFixtures, 120_000);

test("a quantisation that ModelOpt names beside the config is refused by its name", () => {
  const folder = withConfig("tied", {});
  const beside = join(folder, "hf_quant_config.json");
  writeFileSync(beside, JSON.stringify({ producer: { name: "modelopt" }, quantization: { quant_algo: "NVFP4" } }));
  expect(refusal(folder)).toContain('it is quantised by "modelopt NVFP4", known are');
  writeFileSync(beside, JSON.stringify({ quantization: { quant_algo: null, kv_cache_quant_algo: "FP8" } }));
  expect(refusal(folder)).toBe("no refusal");
});

/** A copy of a fixture's folder with another config. */
function withConfig(name: string, changes: Record<string, unknown>): string {
  const folder = mkdtempSync(join(tmpdir(), "bunsen-"));
  cpSync(fixture(name).path, folder, { recursive: true });
  const file = join(folder, "config.json");
  const config = JSON.parse(readFileSync(file, "utf8"));
  writeFileSync(file, JSON.stringify({ ...config, ...changes }));
  return folder;
}

function refusal(path: string): string {
  try {
    loadModel(path)[Symbol.dispose]();
  } catch (error) {
    expect(error).toBeInstanceOf(Failure);
    return (error as Failure).message;
  }
  return "no refusal";
}

const CASES: [string, string, Record<string, unknown>, string][] = [
  ["an unknown family", "tied", { model_type: "mamba9" }, 'its family is "mamba9", known: cohere2, gemma,'],
  ["a missing size", "tied", { hidden_size: null }, "hidden_size must be a whole number of at least 1, found null"],
  [
    "a size that is text",
    "tied",
    { num_hidden_layers: "3" },
    'num_hidden_layers must be a whole number of at least 1, found "3"',
  ],
  [
    "more layers than the file has",
    "tied",
    { num_hidden_layers: 4 },
    'tensor "model.layers.3.self_attn.q_proj.weight" must have shape [64,64], found no such tensor',
  ],
  [
    "another vocabulary",
    "tied",
    { vocab_size: 300 },
    'tensor "model.embed_tokens.weight" must have shape [300,64], found shape [256,64]',
  ],
  ["heads that do not divide", "tied", { num_key_value_heads: 3 }, "4 attention heads do not divide among 3 key heads"],
  ["an odd head", "tied", { head_dim: 15 }, "head_dim must be even to rotate in pairs, found 15"],
  ["another activation", "tied", { hidden_act: "relu" }, 'hidden_act must be "silu", found "relu"'],
  [
    "an unknown rope scaling",
    "tied",
    { rope_scaling: { rope_type: "wavy" } },
    'its rope scaling is "wavy", known are linear, llama3, yarn and longrope',
  ],
  [
    "a rope that changes with the length",
    "tied",
    { rope_scaling: { rope_type: "dynamic", factor: 2 } },
    'its rope scaling is "dynamic"',
  ],
  [
    "a kind of layer we do not know",
    "family-olmo3",
    { layer_types: ["full_attention", "sliding_attention", "linear_attention", "full_attention"] },
    "layer_types must be 4 of full_attention and sliding_attention, found",
  ],
  [
    "GELU by the error function",
    "family-starcoder2",
    { hidden_act: "gelu" },
    'hidden_act must be "gelu_pytorch_tanh", found "gelu"',
  ],
  [
    "a norm with a bias that is not there",
    "family-cohere2",
    { layer_norm_bias: true },
    'tensor "model.layers.0.input_layernorm.bias" must have shape [64], found no such tensor',
  ],
  [
    "a bias the config is silent of",
    "biases",
    { attention_bias: null },
    'nothing its config says asks for tensor "model.layers.0.self_attn.k_proj.bias", which would be left out',
  ],
  ["another steepness of gates", "family-gpt_oss", { swiglu_alpha: 1.5 }, "swiglu_alpha must be 1.702, found 1.5"],
  [
    "attention in both directions",
    "family-gemma3_text",
    { use_bidirectional_attention: true },
    "use_bidirectional_attention must be false, found true",
  ],
  ["each token in sight of all", "family-qwen2", { is_causal: false }, "is_causal must be true, found false"],
  ["a model that sees, without its text", "family-gemma3", { text_config: 3 }, "text_config must be an object"],
  [
    "a share of a head that does not rotate in pairs",
    "family-glm4",
    { partial_rotary_factor: 0.2 },
    "dimensions rotate in pairs within a head, found 3",
  ],
  [
    "more experts than the file has",
    "family-qwen3_moe",
    { num_experts: 7 },
    'tensor "model.layers.0.mlp.gate.weight" must have shape [7,64], found shape [6,64]',
  ],
  [
    "a layer of a kind that LFM2 does not have",
    "family-lfm2",
    { layer_types: ["conv", "mamba", "full_attention", "conv", "full_attention"] },
    "layer_types must be 5 of full_attention and conv, found",
  ],
  [
    "LFM2 that does not say which layers attend",
    "family-lfm2",
    { layer_types: null },
    "neither layer_types nor full_attn_idxs says which layers attend",
  ],
  ["a feed-forward layer of another width", "family-lfm2", { block_dim: 96 }, "block_dim must be 64, found 96"],
  [
    "a convolution of one tap",
    "family-lfm2",
    { conv_L_cache: 1 },
    "conv_L_cache must be a whole number from 2 to 32, found 1",
  ],
  [
    "a convolution longer than the file's",
    "family-lfm2",
    { conv_L_cache: 4 },
    'tensor "model.layers.0.conv.conv.weight" must have shape [64,4,1], found shape [64,3,1]',
  ],
  [
    "heads of values that do not divide among those of keys",
    "family-qwen3_next",
    { linear_num_key_heads: 3 },
    "linear_num_value_heads must be 6, found 4",
  ],
  [
    "keys wider than the delta rule takes",
    "family-qwen3_next",
    { linear_key_head_dim: 2048 },
    "linear_key_head_dim must be a whole number from 1 to 1024, found 2048",
  ],
  [
    "attention in the place of a delta net",
    "family-qwen3_next",
    { full_attention_interval: 2 },
    'tensor "model.layers.1.self_attn.q_proj.weight" must have shape [256,64], found no such tensor',
  ],
  ["layers without positions", "family-lfm2", { use_pos_enc: false }, "use_pos_enc must be true, found false"],
  [
    "windows beside delta nets",
    "family-qwen3_next",
    { use_sliding_window: true },
    "use_sliding_window must be false, found true",
  ],
  [
    "another activation of experts",
    "family-qwen3_next",
    { hidden_act: "gelu" },
    'hidden_act must be "silu", found "gelu"',
  ],
  [
    "a rope scaling without its factor",
    "tied",
    { rope_scaling: { type: "linear" } },
    "factor must be a number above 0, found nothing",
  ],
  [
    "a head of its own that is not there",
    "tied",
    { tie_word_embeddings: false },
    'tensor "lm_head.weight" must have shape [256,64], found no such tensor',
  ],
  [
    "another group size",
    "affine-4-64",
    { quantization: { group_size: 32, bits: 4 } },
    'tensor "model.embed_tokens.scales" must have shape [256,2], found shape [256,1]',
  ],
  [
    "other bits",
    "affine-4-64",
    { quantization: { group_size: 64, bits: 8 } },
    'tensor "model.embed_tokens.weight" must have shape [256,16], found shape [256,8]',
  ],
  [
    "bits MLX does not have",
    "affine-4-64",
    { quantization: { group_size: 64, bits: 7 } },
    "7 bits in groups of 64 is not a form MLX has",
  ],
  [
    "another mode",
    "affine-4-64",
    { quantization: { mode: "nvfp5", group_size: 16, bits: 4 } },
    'its quantization mode is "nvfp5", known are affine, mxfp4, mxfp8, nvfp4',
  ],
  [
    "small floats in groups of another size",
    "affine-4-64",
    { quantization: { mode: "nvfp4", group_size: 32, bits: 4 } },
    "4 bits in groups of 32 is not a form of nvfp4, which has 4 in 16",
  ],
  [
    "a foreign quantisation",
    "tied",
    { quantization_config: { quant_method: "gptq", bits: 4 } },
    `it is quantised by "gptq", known are MLX's own forms and GGUF: take a GGUF or an MLX conversion of it, or have "bunsen quantize" read what it was made of`,
  ],
];

test.each(CASES)("%s is refused by name", (_, name, changes, sentence) => {
  const folder = withConfig(name, changes);
  const message = refusal(folder);
  expect(message).toContain(sentence);
  expect(message).toStartWith(`Cannot load ${folder}`);
  rmSync(folder, { recursive: true });
});

test("a scale of a whole matrix is refused by name", () => {
  const folder = withConfig("nvfp4", {});
  renameSync(join(folder, "model.safetensors"), join(folder, "others.safetensors"));
  const name = "model.layers.1.mlp.down_proj.global_scale";
  const header = { [name]: f32Entry(0, 1) };
  writeFileSync(join(folder, "more.safetensors"), safetensorsBytes(header, 4));
  rmSync(join(folder, "model.safetensors.index.json"), { force: true });
  expect(refusal(folder)).toBe(
    `Cannot load ${folder}: tensor "${name}" scales a matrix as a whole, which is not computed`,
  );
});

test.each([
  ["attention.causal", value.bool(0), "false"],
  ["pooling_type", value.u32(3), "3"],
  ["expert_gating_func", value.u32(2), "2"],
  ["attention.clamp_kqv", value.u32(8), "8"],
])("a GGUF file that says %s is refused by that", (key, said, shown) => {
  const path = join(mkdtempSync(join(tmpdir(), "bunsen-")), "model.gguf");
  const metadata = [
    ["general.architecture", value.string("llama")],
    [`llama.${key}`, said],
  ] as const;
  writeFileSync(path, ggufBytes({ metadata }));
  expect(refusal(path)).toBe(`Cannot load ${path}: llama.${key} is ${shown}, which is not computed`);
});

test("a GGUF file of another architecture is refused by name", () => {
  const path = join(mkdtempSync(join(tmpdir(), "bunsen-")), "model.gguf");
  const bytes = readFileSync(fixture("gguf-F32").path);
  bytes.set(Buffer.from("lemur"), bytes.indexOf("llama"));
  writeFileSync(path, bytes);
  expect(refusal(path)).toBe(
    `Cannot load ${path}: its architecture is "lemur", known: cohere2, gemma, gemma2, gemma3, glm4, gpt-oss, granite, lfm2, lfm2moe, llama, olmo2, phi3, qwen2, qwen2moe, qwen3, qwen3moe, qwen3next, smollm3, starcoder2`,
  );
});

for (const name of ["gguf-Q4_1", "affine-4-32"]) {
  for (const seed of [1, 2]) {
    test(`${name} with bytes changed at random loads or is refused, and leaks nothing (seed ${seed})`, () => {
      const random = seeded(seed);
      const folder = mkdtempSync(join(tmpdir(), "bunsen-"));
      const { path } = fixture(name);
      cpSync(path, path.endsWith(".gguf") ? join(folder, "model.gguf") : folder, { recursive: true });
      const file = join(folder, path.endsWith(".gguf") ? "model.gguf" : "model.safetensors");
      const good = readFileSync(file);
      for (let turn = 0; turn < 60; turn++) {
        const bad = Buffer.from(good);
        const header = Math.min(4000, bad.length);
        for (let change = integer(random, 1, 4); change > 0; change--) {
          bad[integer(random, 0, header - 1)] = integer(random, 0, 255);
        }
        writeFileSync(file, random() < 0.3 ? bad.subarray(0, integer(random, 0, bad.length)) : bad);
        refusal(path.endsWith(".gguf") ? file : folder);
      }
      expect(arrayCounts().alive).toBe(0);
      rmSync(folder, { recursive: true });
    });
  }
}
