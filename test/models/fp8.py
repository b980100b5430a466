"""Writes a model in E4M3 with a scale for each block of 16 rows and 24 columns, and what its weights are as MLX reads them.

Usage: fp8.py OUT_FOLDER, of which "fp8" becomes the model and "bf16" the same dense.
"""

import json
import sys
from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten
from mlx_lm.models.qwen3_moe import Model, ModelArgs

BLOCK = (16, 24)
CONFIG = {
    "model_type": "qwen3_moe", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "head_dim": 16,
    "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-6, "vocab_size": 256, "num_experts": 3,
    "num_experts_per_tok": 2, "moe_intermediate_size": 40, "norm_topk_prob": True, "decoder_sparse_step": 1,
    "mlp_only_layers": [], "max_position_embeddings": 512, "rope_theta": 10000.0, "tie_word_embeddings": False,
}


def in_blocks(scales, shape):
    wide = np.repeat(np.repeat(np.array(scales.astype(mx.float32)), BLOCK[0], axis=0), BLOCK[1], axis=1)
    return mx.array(wide[: shape[0], : shape[1]])


def write(folder, weights, config):
    folder.mkdir(parents=True)
    mx.save_safetensors(str(folder / "model.safetensors"), weights)
    (folder / "config.json").write_text(json.dumps(config))


mx.random.seed(5)
out = Path(sys.argv[1])
packed, dense = {}, {}
for name, value in tree_flatten(Model(ModelArgs.from_dict(CONFIG)).parameters()):
    value = mx.random.normal(value.shape) * 0.25 + (1 if "norm" in name else 0)
    prefix, _, rest = name.partition("switch_mlp.")
    parts = {f"{prefix}experts.{e}.{rest}": value[e] for e in range(len(value))} if rest else {name: value}
    for part, matrix in parts.items():
        if "_proj" not in part:
            packed[part] = dense[part] = matrix.astype(mx.bfloat16)
            continue
        rows, columns = (-(-size // block) for size, block in zip(matrix.shape, BLOCK))
        scales = (mx.random.uniform(0.5, 1.5, (rows, columns)) / 100).astype(mx.bfloat16 if "q_proj" in part else mx.float32)
        wide = in_blocks(scales, matrix.shape)
        packed[part] = mx.to_fp8(matrix / wide)
        packed[f"{part}_scale_inv"] = scales
        dense[part] = (mx.from_fp8(packed[part], mx.float32) * wide).astype(mx.bfloat16)
fp8 = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": BLOCK, "activation_scheme": "dynamic"}
write(out / "fp8", packed, {**CONFIG, "quantization_config": fp8})
write(out / "bf16", dense, CONFIG)
