"""Writes small llamas of random ggml blocks, and what mlx-lm says of each.

Usage: k-quants.py OUT_FOLDER; makes OUT_FOLDER/<type>.gguf and <type>.json. Types whose groups are of 16 are rounded to 8-bit
groups of 32, as Bunsen keeps them.
"""

import json
import sys
from pathlib import Path

import gguf
import mlx.core as mx
import numpy as np
from gguf import quants
from mlx.utils import tree_flatten
from mlx_lm.models.llama import Model, ModelArgs

from greedy import greedy

OUT = Path(sys.argv[1])
PROMPT = [(11 * place) % 96 for place in range(17)]
STEPS = 12
# Where the halves lie that scale a block, and how large they are for weights of about a quarter.
FACTORS = {
    "Q5_0": {0: 0.03}, "Q5_1": {0: 0.03, 2: -0.4}, "Q4_K": {0: 0.001, 2: 0.0002}, "Q5_K": {0: 0.0005, 2: 0.0002},
    "Q2_K": {80: 0.02, 82: 0.03}, "Q3_K": {108: 0.004}, "Q6_K": {208: 0.0002},
    "IQ4_NL": {0: 0.003}, "IQ4_XS": {0: 0.0002},
}
ROUNDED = ("Q2_K", "Q3_K", "Q6_K")
CONFIG = {
    "model_type": "llama", "hidden_size": 256, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "vocab_size": 96, "max_position_embeddings": 128,
    "rope_theta": 10000.0, "tie_word_embeddings": False,
}
NAMES = {
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}
OUTER = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def gguf_name(name):
    stem = name.removesuffix(".weight")
    if stem in OUTER:
        return f"{OUTER[stem]}.weight"
    _, _, layer, rest = stem.split(".", 3)
    return f"blk.{layer}.{NAMES[rest]}.weight"


def unpaired(rows, heads):
    head_dim = rows.shape[0] // heads
    return rows.reshape(heads, head_dim // 2, 2, -1).swapaxes(1, 2).reshape(rows.shape)


def random_blocks(random, kind, rows, columns, factors):
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = random.integers(0, 256, (rows * columns // elements, size), dtype=np.uint8)
    for at, scale in factors.items():
        spread = scale * (1 + 0.3 * random.random((len(blocks), 1)))
        blocks[:, at : at + 2] = spread.astype(np.float16).view(np.uint8)
    return blocks.reshape(rows, -1)


def write(name, factors):
    random = np.random.default_rng(3)
    kind = gguf.GGMLQuantizationType[name]
    model = Model(ModelArgs.from_dict(CONFIG))
    writer = gguf.GGUFWriter(str(OUT / f"{name}.gguf"), "llama")
    writer.add_context_length(CONFIG["max_position_embeddings"])
    writer.add_embedding_length(CONFIG["hidden_size"])
    writer.add_block_count(CONFIG["num_hidden_layers"])
    writer.add_feed_forward_length(CONFIG["intermediate_size"])
    writer.add_head_count(CONFIG["num_attention_heads"])
    writer.add_head_count_kv(CONFIG["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(CONFIG["rms_norm_eps"])
    writer.add_rope_freq_base(CONFIG["rope_theta"])
    writer.add_vocab_size(CONFIG["vocab_size"])
    kept = []
    for key, value in tree_flatten(model.parameters()):
        if value.ndim == 1:
            writer.add_tensor(gguf_name(key), np.ones(value.shape, dtype=np.float32))
            kept.append((key, mx.ones(value.shape)))
            continue
        data = random_blocks(random, kind, *value.shape, factors)
        writer.add_tensor(gguf_name(key), data, raw_dtype=kind)
        dense = quants.dequantize(data, kind).astype(np.float32)
        heads = 4 if "q_proj" in key else 2 if "k_proj" in key else None
        weight = mx.array(unpaired(dense, heads) if heads else dense)
        kept.append((key, mx.dequantize(*mx.quantize(weight, 32, 8), 32, 8) if name in ROUNDED else weight))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    model.load_weights(kept)
    (OUT / f"{name}.json").write_text(json.dumps(greedy(model, PROMPT, STEPS)))


mx.disable_compile()  # on the CPU it calls a C++ compiler
for each, factors in FACTORS.items():
    write(each, factors)
