"""Writes models of random weights, one folder for each family, 4 bits in groups of 64: of the size of Qwen3-0.6B, but for
half its heads, which are then together as wide as the model, as some families want them.


Usage: random-families.py OUT_FOLDER FAMILY…   (without any, it prints which there are)
Words are drawn and not quantised: no model is ever computed.
"""

import importlib
import json
import sys
from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten
from mlx_lm.utils import quantize_model

OUT = Path(sys.argv[1])
SIZES = {
    "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 8,
    "num_key_value_heads": 4, "head_dim": 128, "vocab_size": 151936, "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "tie_word_embeddings": True,
}
# Mixtures have as many weights at work as the others.
EXPERTS = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 1536, "num_local_experts": 8}
QWEN_EXPERTS = {**EXPERTS, "norm_topk_prob": True, "decoder_sparse_step": 1, "mlp_only_layers": []}
GEMMA = {"hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 128, "sliding_window": 4096}
LFM2 = {"conv_L_cache": 3, "norm_eps": 1e-5, "layer_types": ["conv", "conv", "full_attention", "conv"] * 7}
# What a family's config must say beyond the sizes.
FAMILIES = {
    "cohere2": {"sliding_window": 4096, "layer_norm_eps": 1e-5, "logit_scale": 0.0625, "sliding_window_pattern": 4},
    "gemma": GEMMA,
    "gemma2": {**GEMMA, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0},
    "gemma3_text": {**GEMMA, "sliding_window": 512, "sliding_window_pattern": 6, "rope_local_base_freq": 10000.0},
    "glm4": {"attention_bias": True, "partial_rotary_factor": 0.5},
    "gpt_oss": {**EXPERTS, "intermediate_size": 1536, "sliding_window": 128},
    "granite": {
        "attention_bias": False, "mlp_bias": False, "embedding_multiplier": 12.0, "residual_multiplier": 0.22,
        "attention_multiplier": 0.0078125, "logits_scaling": 8.0,
    },
    "lfm2": {
        **LFM2, "block_dim": 1024, "block_multiple_of": 256, "block_ffn_dim_multiplier": 1.0,
        "block_auto_adjust_ff_dim": False, "conv_bias": False,
    },
    "lfm2_moe": {
        **LFM2, **EXPERTS, "num_dense_layers": 2, "norm_topk_prob": True, "use_expert_bias": True, "conv_bias": False,
        "routed_scaling_factor": 1.0,
    },
    "llama": {},
    "mistral": {"sliding_window": 4096},
    "mixtral": {**EXPERTS, "intermediate_size": 1536},
    "olmo2": {},
    "olmo3": {"sliding_window": 4096},
    "phi3": {"sliding_window": None, "tie_word_embeddings": False},
    "qwen2": {},
    "qwen2_moe": {**QWEN_EXPERTS, "num_experts_per_tok": 1, "shared_expert_intermediate_size": 1536},
    "qwen3": {},
    "qwen3_moe": QWEN_EXPERTS,
    "qwen3_next": {
        **QWEN_EXPERTS, "num_experts_per_tok": 1, "shared_expert_intermediate_size": 1536,
        "partial_rotary_factor": 0.25, "linear_num_value_heads": 16, "linear_num_key_heads": 8,
        "linear_key_head_dim": 128, "linear_value_head_dim": 128, "linear_conv_kernel_dim": 4,
    },
    "smollm3": {"no_rope_layer_interval": 4},
    "starcoder2": {"sliding_window": 4096, "norm_epsilon": 1e-5, "hidden_act": "gelu_pytorch_tanh"},
}
POOL = np.random.default_rng(1).integers(0, 2**32, 2**24, dtype=np.uint32)


def drawn(name, value):
    """Weights of about 0.02 either way, norms of 1."""
    if value.dtype == mx.uint32:
        return mx.array(np.resize(POOL, value.shape))
    if name.endswith((".scales", ".biases")):
        return mx.full(value.shape, 0.005 if name.endswith(".scales") else -0.0375, mx.float16)
    spread = np.resize(POOL, value.shape).view(np.int32) * (0.02 / 2**31)
    return mx.array((1 + spread if "norm" in name else spread).astype(np.float32))


def write(family):
    module = importlib.import_module(f"mlx_lm.models.{'llama' if family == 'mistral' else family}")
    config = {"model_type": family, **SIZES, **FAMILIES[family]}
    model = module.Model(module.ModelArgs.from_dict(config))
    if family == "gemma3_text":
        model.sanitize({})  # takes the head away
    model, config = quantize_model(model, config, 64, 4)
    folder = OUT / family
    folder.mkdir(parents=True)
    weights = {name: drawn(name, value) for name, value in tree_flatten(model.parameters())}
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})
    (folder / "config.json").write_text(json.dumps(config))


if len(sys.argv) == 2:
    print(*FAMILIES)
mx.disable_compile()  # on the CPU it calls a C++ compiler
for each in sys.argv[2:]:
    write(each)
