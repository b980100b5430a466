"""Writes models of random weights in the size of Qwen3-0.6B, one folder for each family, 4 bits in groups of 64.

Usage: random-families.py OUT_FOLDER FAMILY…
"""

import importlib
import json
import sys
from pathlib import Path

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.utils import quantize_model, save_model

OUT = Path(sys.argv[1])
SIZES = {
    "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 16,
    "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936, "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "tie_word_embeddings": True,
}
EXPERTS = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 1536, "num_local_experts": 8}
# What a family's config must say beyond the sizes; mixtures have as many weights at work as the others.
FAMILIES = {
    "cohere2": {"sliding_window": 4096, "layer_norm_eps": 1e-5, "logit_scale": 0.0625, "sliding_window_pattern": 4},
    "gemma2": {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "query_pre_attn_scalar": 128, "sliding_window": 4096},
    "gpt_oss": {**EXPERTS, "intermediate_size": 1536, "sliding_window": 128},
    "llama": {},
    "phi3": {"sliding_window": None, "tie_word_embeddings": False},
    "qwen2": {},
    "qwen3": {},
    "qwen3_moe": {**EXPERTS, "norm_topk_prob": True, "decoder_sparse_step": 1, "mlp_only_layers": []},
}

mx.disable_compile()  # on the CPU it calls a C++ compiler
for family in sys.argv[2:]:
    module = importlib.import_module(f"mlx_lm.models.{family}")
    config = {"model_type": family, **SIZES, **FAMILIES[family]}
    mx.random.seed(1)
    model = module.Model(module.ModelArgs.from_dict(config))
    spread = [(key, mx.random.normal(value.shape) * 0.02) for key, value in tree_flatten(model.parameters())]
    model.load_weights([(key, 1 + value if "norm" in key else value) for key, value in spread])
    model, config = quantize_model(model, config, 64, 4)
    (OUT / family).mkdir(parents=True)
    save_model(OUT / family, model)
    (OUT / family / "config.json").write_text(json.dumps(config))
