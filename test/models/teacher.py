"""What mlx-lm would have drawn at each step of answers that were drawn already.

Usage: teacher.py MODEL.gguf WORK_FOLDER, with [{"prompt_ids": […], "token_ids": […]}, …] in WORK_FOLDER/cases.json
The GGUF file is read by the gguf package, written as a float32 Hugging Face folder and loaded by mlx-lm. Prints for
each answer the best token of every step and by how much its logit is above that of the token that was drawn.
"""

import json
import sys
from pathlib import Path

import gguf
import mlx.core as mx
import numpy as np
from gguf import quants
from mlx_lm.utils import load_model

SOURCE, WORK = sys.argv[1], Path(sys.argv[2])

HF_NAMES = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


def hf_name(name):
    stem, kind = name.rsplit(".", 1)
    if not stem.startswith("blk."):
        return f"{OUTER[stem]}.{kind}"
    _, layer, part = stem.split(".")
    return f"model.layers.{layer}.{HF_NAMES[part]}.{kind}"


def unpaired(rows, heads):
    head_dim = rows.shape[0] // heads
    return rows.reshape(heads, head_dim // 2, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def write_folder():
    reader = gguf.GGUFReader(SOURCE)
    field = lambda key: reader.fields[f"llama.{key}"].contents()
    heads, kv_heads = field("attention.head_count"), field("attention.head_count_kv")
    weights = {}
    for tensor in reader.tensors:
        dense = quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        if ".attn_q." in tensor.name or ".attn_k." in tensor.name:
            dense = unpaired(dense, heads if ".attn_q." in tensor.name else kv_heads)
        weights[hf_name(tensor.name)] = mx.array(dense)
    mx.save_safetensors(str(WORK / "model.safetensors"), weights)
    config = {
        "model_type": "llama",
        "hidden_size": field("embedding_length"),
        "intermediate_size": field("feed_forward_length"),
        "num_hidden_layers": field("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "rms_norm_eps": field("attention.layer_norm_rms_epsilon"),
        "rope_theta": field("rope.freq_base"),
        "vocab_size": field("vocab_size"),
        "max_position_embeddings": field("context_length"),
        "tie_word_embeddings": "lm_head.weight" not in weights,
    }
    (WORK / "config.json").write_text(json.dumps(config))


write_folder()
model, _ = load_model(WORK)
answers = []
for case in json.loads((WORK / "cases.json").read_text()):
    prompt, drawn = case["prompt_ids"], case["token_ids"]
    logits = model(mx.array([prompt + drawn]))[0, len(prompt) - 1 : -1]
    best = mx.argmax(logits, axis=-1)
    above = mx.max(logits, axis=-1) - mx.take_along_axis(logits, mx.array(drawn)[:, None], axis=-1)[:, 0]
    answers.append({"best_ids": best.tolist(), "above": above.tolist()})
json.dump(answers, sys.stdout)
