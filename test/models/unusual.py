"""Writes tiny models whose configs say what is rare: as mlx-lm reads it, and as others put the same.

Usage: unusual.py OUT_FOLDER
Each is a folder, or a GGUF file in one, with `expected.json` beside it: what mlx-lm draws after one prompt, in float32.
"""

import importlib
import json
import shutil
import sys
from pathlib import Path

import gguf
import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten
from mlx_lm.utils import save_model

from greedy import greedy

OUT = Path(sys.argv[1])
PROMPT = np.random.default_rng(7).integers(0, 250, 41).tolist()
STEPS = 4
WINDOW = 24
BASE = {
    "hidden_size": 72, "intermediate_size": 100, "num_hidden_layers": 4, "num_attention_heads": 6,
    "num_key_value_heads": 3, "head_dim": 12, "vocab_size": 251, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0, "tie_word_embeddings": True,
}
FULL, SLIDING = "full_attention", "sliding_attention"
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
EXPERTS = {"num_experts": 5, "num_experts_per_tok": 3, "moe_intermediate_size": 40}
GEMMA = {"hidden_activation": "gelu_pytorch_tanh"}
QWEN3_MOE = {**EXPERTS, "norm_topk_prob": True, "decoder_sparse_step": 1, "mlp_only_layers": []}
FACTORS = [1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
ABSENT = None

# By name: the family, what mlx-lm is told, and what the file says otherwise. ABSENT fields are left out of both.
CASES = {
    "keys-of-olmo3-gguf": (
        "olmo3",
        {
            "layer_types": [FULL, SLIDING, SLIDING, FULL], "sliding_window": WINDOW,
            "rope_scaling": {**YARN, "beta_fast": 8.0, "beta_slow": 2.0},
        },
        lambda writer, config: windows_and_yarn(writer, config),
    ),
    "parts-of-qwen2-gguf": ("qwen2", {"num_key_value_heads": 6}, lambda writer, config: in_parts(writer)),
    "keys-of-smollm3-gguf": ("smollm3", {"num_key_value_heads": 6}, lambda writer, config: None),
    "keys-of-qwen2-gguf": ("qwen2", {"num_key_value_heads": 6}, lambda writer, config: None),
    "experts-in-one-gguf": ("qwen3_moe", {**QWEN3_MOE, "num_key_value_heads": 6}, lambda writer, config: experts(writer, config)),
    "sizes": ("llama", {}, {}),
    "one-key-head": ("olmo2", {"num_key_value_heads": 1}, {}),
    "windows-of-llama": (
        "llama", {"layer_types": [FULL, SLIDING, SLIDING, FULL], "sliding_window": WINDOW}, {},
    ),
    "neighbours-of-llama": ("llama", {"rope_traditional": True}, {}),
    "halves-of-glm4": ("glm4", {"rope_traditional": False, "attention_bias": True, "partial_rotary_factor": 0.5}, {}),
    "base-of-mixtral": ("mixtral", {"rope_theta": ABSENT, "num_local_experts": 3, "num_experts_per_tok": 2}, {}),
    "base-of-qwen2": ("qwen2", {"rope_theta": ABSENT}, {}),
    "base-of-qwen2_moe": ("qwen2_moe", {**EXPERTS, "rope_theta": ABSENT, "shared_expert_intermediate_size": 32}, {}),
    "base-of-starcoder2": ("starcoder2", {"rope_theta": ABSENT}, {"hidden_act": "gelu_pytorch_tanh"}),
    "base-of-cohere2": ("cohere2", {"rope_theta": ABSENT}, {}),
    "caps-of-gemma2": ("gemma2", {**GEMMA, "query_pre_attn_scalar": 12.0}, {}),
    "root-of-gemma3": ("gemma3_text", {**GEMMA, "query_pre_attn_scalar": 12.0, "sliding_window": WINDOW, "sliding_window_pattern": 4}, {}),
    "head-of-glm4": ("glm4", {"attention_bias": False, "partial_rotary_factor": 0.5, "head_dim": 12}, {}),
    "head-of-gpt_oss": (
        "gpt_oss", {"num_local_experts": 3, "num_experts_per_tok": 2, "sliding_window": WINDOW, "intermediate_size": 72}, {},
    ),
    "head-of-lfm2": (
        "lfm2",
        {
            "norm_eps": 1e-5, "conv_bias": False, "conv_L_cache": 3, "full_attn_idxs": [1], "block_dim": 72,
            "block_multiple_of": 4, "block_ffn_dim_multiplier": 1.0, "block_auto_adjust_ff_dim": False,
            "tie_word_embeddings": False,
        },
        {},
    ),
    "head-of-gemma": ("gemma", {**GEMMA, "tie_word_embeddings": False}, {}),
    "biases-of-cohere2": ("cohere2", {"layer_norm_bias": True, "sliding_window": WINDOW}, {}),
    "windows-of-smollm3": (
        "smollm3", {"layer_types": [SLIDING, FULL, SLIDING, FULL], "sliding_window": WINDOW, "no_rope_layers": [1, 0, 0, 1]}, {},
    ),
    "parameters-of-olmo3": (
        "olmo3", {"rope_scaling": YARN, "rope_theta": 500000.0, "sliding_window": WINDOW},
        {
            "rope_scaling": ABSENT, "rope_theta": ABSENT,
            "rope_parameters": {
                FULL: {**YARN, "rope_theta": 500000.0}, SLIDING: {"rope_type": "default", "rope_theta": 500000.0},
            },
        },
    ),
    "bases-of-olmo3": (
        "olmo3", {"rope_theta": 3000.0, "sliding_window": WINDOW},
        {
            "rope_theta": ABSENT,
            "rope_parameters": {FULL: {"rope_theta": 3000.0}, SLIDING: {"rope_type": "default", "rope_theta": 3000.0}},
        },
    ),
    "parameters-of-llama": (
        "llama", {"rope_scaling": LLAMA3}, 
        {"rope_scaling": ABSENT, "rope_theta": ABSENT, "rope_parameters": {**LLAMA3, "rope_theta": 10000.0}},
    ),
    "parameters-of-glm4": (
        "glm4", {"attention_bias": True, "partial_rotary_factor": 0.5, "tie_word_embeddings": False},
        {
            "partial_rotary_factor": ABSENT, "rope_theta": ABSENT,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5},
        },
    ),
    "experts-of-qwen3_moe": ("qwen3_moe", QWEN3_MOE, {"num_experts": ABSENT, "num_local_experts": 5}),
    "length-of-phi3": (
        "phi3", {"rope_scaling": {"type": "longrope", "short_factor": FACTORS, "long_factor": FACTORS}, "max_position_embeddings": 8192}, {},
    ),
}


def without_absent(config):
    return {name: value for name, value in config.items() if value is not ABSENT}


def initial(model_type, name, value):
    spread = mx.random.normal(value.shape)
    if "gemma" in model_type and ("post_attention" in name or "post_feed" in name) and model_type != "gemma":
        return spread * 0.1 + 3
    if "norm" in name and name.endswith("weight"):
        return spread * 0.1 + (0 if "gemma" in model_type else 1)
    return spread * 0.25


def write(seed, name, model_type, told, stored):
    mx.random.seed(seed)
    module = importlib.import_module(f"mlx_lm.models.{model_type}")
    config = without_absent({"model_type": model_type, **BASE, **told})
    model = module.Model(module.ModelArgs.from_dict(config))
    model.load_weights([(key, initial(model_type, key, value)) for key, value in tree_flatten(model.parameters())])
    folder = OUT / name
    folder.mkdir(parents=True)
    if callable(stored):
        write_gguf(folder / "model.gguf", model, config, stored)
    else:
        save_model(folder, model, donate_model=False)
        (folder / "config.json").write_text(json.dumps(without_absent({**config, **stored})))
    (folder / "expected.json").write_text(json.dumps([greedy(model, PROMPT, STEPS)]))


def write_gguf(path, model, config, more):
    """With no key that llama.cpp has a default for, but those of `more`."""
    own_name = {"olmo3": "olmo2", "qwen3_moe": "qwen3moe"}.get(config["model_type"], config["model_type"])
    writer = gguf.GGUFWriter(str(path), own_name)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_token_list([str(number).encode() for number in range(config["vocab_size"])])
    more(writer, config)
    arch = next(key for key, value in gguf.MODEL_ARCH_NAMES.items() if value == own_name)
    names = gguf.get_tensor_name_map(arch, config["num_hidden_layers"])
    for key, value in tree_flatten(model.parameters()):
        dense = np.array(value)
        layer, _, expert_part = key.removeprefix("model.layers.").partition(".mlp.switch_mlp.")
        if expert_part.startswith("gate"):
            up = model.layers[int(layer)].mlp.switch_mlp.up_proj.weight
            writer.add_tensor(f"blk.{layer}.ffn_gate_up_exps.weight", np.concatenate([dense, np.array(up)], axis=1))
        if expert_part.startswith(("gate", "up")):
            continue
        key = key.replace("switch_mlp", "experts")
        if own_name == "smollm3" and ("q_proj" in key or "k_proj" in key):
            dense = paired(dense, config["head_dim"])
        writer.add_tensor(names.get_name(key, try_suffixes=(".weight", ".bias")), dense)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def paired(rows, head_dim):
    return rows.reshape(-1, 2, head_dim // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def in_parts(writer):
    """As llama.cpp's converter splits large models: the first part has the metadata, none of the tensors."""
    writer.split_max_tensors, writer.small_first_shard = 20, True
    writer.tensors.append({})


def experts(writer, config):
    writer.add_expert_count(config["num_experts"])
    writer.add_expert_used_count(config["num_experts_per_tok"])
    writer.add_expert_feed_forward_length(config["moe_intermediate_size"])


def windows_and_yarn(writer, config):
    scaling = config["rope_scaling"]
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_sliding_window(config["sliding_window"])
    writer.add_sliding_window_pattern([each == SLIDING for each in config["layer_types"]])
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(scaling["factor"])
    writer.add_rope_scaling_orig_ctx_len(scaling["original_max_position_embeddings"])
    writer.add_rope_scaling_yarn_beta_fast(scaling["beta_fast"])
    writer.add_rope_scaling_yarn_beta_slow(scaling["beta_slow"])


mx.disable_compile()  # on the CPU it calls a C++ compiler
nn.gelu = nn.gelu_approx  # mlx-lm takes erf for gemma and starcoder2
shutil.rmtree(OUT, ignore_errors=True)
for seed, (name, case) in enumerate(CASES.items(), 300):
    write(seed, name, *case)
