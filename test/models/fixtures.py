"""Writes tiny models: llama in every form the loader takes, then one of each family; with what mlx-lm says of each.

Usage: fixtures.py OUT_FOLDER STORIES_FOLDER_OR_EMPTY
Each fixture is a model (folder or .gguf) and `expected.json` beside it: the prompt, mlx-lm's greedy
tokens and the last logits, computed in float32 on the weights as the file holds them.
"""

import importlib
import json
import math
import shutil
import sys
import types
from pathlib import Path

import gguf
import mlx.core as mx
import mlx.nn as nn
import numpy as np
from gguf import quants
from mlx.utils import tree_flatten
from mlx_lm.models import rope_utils
from mlx_lm.models.llama import Model, ModelArgs
from mlx_lm.utils import load_model, quantize_model, save_model

from greedy import greedy

OUT = Path(sys.argv[1])
STORIES = Path(sys.argv[2]) if len(sys.argv) > 2 and sys.argv[2] else None
SMALL_FLOATS = (("mxfp4", 32, 4), ("mxfp8", 32, 8), ("nvfp4", 16, 4))
PROMPT = [1, 17, 43, 99, 5, 210, 63, 8, 77, 31, 154, 2, 90]
STEPS = 24

BASE = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "vocab_size": 256,
    "max_position_embeddings": 512,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
}

VARIANTS = {
    "tied": {},
    "untied": {"tie_word_embeddings": False},
    "biases": {"attention_bias": True, "mlp_bias": True},
    "wide-heads": {"head_dim": 32, "num_key_value_heads": 4},
    "rope-linear": {"rope_scaling": {"type": "linear", "factor": 4.0}},
    "rope-llama3": {
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        }
    },
    "rope-yarn": {
        "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
    },
}


def build(extra, seed):
    """A model with random weights large enough that its choices are clear."""
    mx.random.seed(seed)
    config = {**BASE, **extra}
    model = Model(ModelArgs.from_dict(config))
    spread = [(name, mx.random.normal(value.shape) * 0.25) for name, value in tree_flatten(model.parameters())]
    model.load_weights([(name, 1 + value * 0.1 if "norm" in name else value) for name, value in spread])
    return model, config


def write_folder(name, model, config, shard_bytes=None):
    folder = OUT / name
    folder.mkdir(parents=True)
    save_model(folder, model, donate_model=False)
    if shard_bytes:
        split(folder, shard_bytes)
    (folder / "config.json").write_text(json.dumps(config))
    loaded, _ = load_model(folder)
    (folder / "expected.json").write_text(json.dumps(greedy(loaded, PROMPT, STEPS)))


def split(folder, shard_bytes):
    """One file into several with an index, as large models come."""
    weights = mx.load(str(folder / "model.safetensors"))
    shards, size = [{}], 0
    for name, value in weights.items():
        if size > shard_bytes:
            shards.append({})
            size = 0
        shards[-1][name] = value
        size += value.nbytes
    index = {}
    for number, shard in enumerate(shards, 1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        mx.save_safetensors(str(folder / file), shard, metadata={"format": "mlx"})
        index.update({name: file for name in shard})
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))


def write_folders():
    for seed, (name, extra) in enumerate(VARIANTS.items()):
        write_folder(name, *build(extra, seed))
    model, config = build({"tie_word_embeddings": False}, 20)
    write_folder("sharded", model, config, shard_bytes=100_000)
    for dtype in (mx.float16, mx.bfloat16):
        model, config = build({}, 21)
        model.set_dtype(dtype)
        write_folder(str(dtype).removeprefix("mlx.core."), model, config)
    for bits, group in ((4, 64), (4, 32), (8, 64), (8, 32), (2, 32), (3, 32), (5, 32), (6, 64)):
        model, config = build({"intermediate_size": 192}, 30 + bits)
        model.set_dtype(mx.float16 if bits == 4 else mx.float32)
        model, config = quantize_model(model, config, group, bits)
        write_folder(f"affine-{bits}-{group}", model, config)
    for mode, group, bits in SMALL_FLOATS:
        write_folder(mode, *quantize_model(*build({"intermediate_size": 192}, 70 + bits), group, bits, mode=mode))
    parts = dict(zip(("q_proj", "down_proj", "o_proj"), SMALL_FLOATS))
    choose = lambda path, _: next(
        ({"mode": mode, "group_size": group, "bits": bits} for part, (mode, group, bits) in parts.items() if part in path),
        "up_proj" not in path,
    )
    model, config = build({"intermediate_size": 192, "tie_word_embeddings": False}, 75)
    write_folder("mixed-modes", *quantize_model(model, config, 64, 4, quant_predicate=choose))
    model, config = build({"intermediate_size": 192, "tie_word_embeddings": False}, 40)
    choose = lambda path, _: False if "v_proj" in path else {"group_size": 32, "bits": 8 if "down_proj" in path else 4}
    model, config = quantize_model(model, config, 32, 4, quant_predicate=choose)
    write_folder("affine-mixed", model, config)


FAMILY_BASE = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 256,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
}
WINDOW = 24  # some prompts are shorter, some longer
SLIDING = ["sliding_attention"] * 4
GEMMA = {"head_dim": 32, "num_key_value_heads": 1, "hidden_activation": "gelu_pytorch_tanh"}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
EXPERTS = {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 64}
LONG = [1.0, 1.5, 2.0, 3.0, 4.0, 6.0]

# Where mlx-lm lets every layer see all (WINDOWLESS below), the window is put into its masks.
FAMILIES = {
    "cohere2": {
        "sliding_window": WINDOW, "layer_norm_eps": 1e-5, "logit_scale": 0.25, "sliding_window_pattern": 4,
    },
    "gemma": GEMMA,
    "gemma2": {
        **GEMMA, "attn_logit_softcapping": 5.0, "final_logit_softcapping": 30.0, "query_pre_attn_scalar": 24,
        "sliding_window": WINDOW, "layer_types": SLIDING,
    },
    "gemma3": {
        "text_config": {
            **FAMILY_BASE, **GEMMA, "model_type": "gemma3_text", "sliding_window": WINDOW, 
            "num_hidden_layers": 6, "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        },
    },
    "gemma3_text": {
        **GEMMA, "sliding_window": WINDOW, "sliding_window_pattern": 3, "query_pre_attn_scalar": 24,
        "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0,
    },
    "glm4": {"attention_bias": True, "partial_rotary_factor": 0.5, "tie_word_embeddings": False},
    "gpt_oss": {
        "head_dim": 32, "intermediate_size": 64, "num_local_experts": 4, "num_experts_per_tok": 2,
        "sliding_window": WINDOW,
        "rope_scaling": {**YARN, "truncate": True}, "tie_word_embeddings": False,
    },
    "granite": {
        "intermediate_size": 128,  # mlx-lm quantises its down_proj in groups of 64
        "attention_bias": False, "mlp_bias": False, "embedding_multiplier": 6.0, "residual_multiplier": 0.3,
        "attention_multiplier": 0.2, "logits_scaling": 2.0,
    },
    "mistral": {"sliding_window": WINDOW, "head_dim": 24, "tie_word_embeddings": False},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "olmo2": {"tie_word_embeddings": False},
    "olmo3": {"sliding_window": WINDOW, "rope_scaling": YARN},
    "phi3": {
        "sliding_window": WINDOW, "partial_rotary_factor": 0.75, "original_max_position_embeddings": 256,
        "rope_scaling": {"type": "longrope", "short_factor": LONG, "long_factor": LONG},
    },
    "qwen2": {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 0},
    "qwen2_moe": {
        **EXPERTS, "shared_expert_intermediate_size": 32, "norm_topk_prob": False, "tie_word_embeddings": False,
    },
    "qwen3_moe": {
        **EXPERTS, "head_dim": 32, "norm_topk_prob": True, "decoder_sparse_step": 1, "mlp_only_layers": [1],
    },
    "qwen3": {"head_dim": 32},
    "smollm3": {"no_rope_layer_interval": 3},
    "starcoder2": {"sliding_window": WINDOW, "norm_epsilon": 1e-5, "hidden_act": "gelu_pytorch_tanh"},
    "lfm2": {
        "intermediate_size": 192, "block_dim": 64, "block_multiple_of": 64, "block_ffn_dim_multiplier": 1.0,
        "block_auto_adjust_ff_dim": True, "norm_eps": 1e-5, "conv_bias": True, "conv_L_cache": 3,
        "num_hidden_layers": 5, "layer_types": ["conv", "conv", "full_attention", "conv", "full_attention"],
    },
    "lfm2_moe": {
        **EXPERTS, "num_dense_layers": 1, "norm_topk_prob": True, "use_expert_bias": True, "routed_scaling_factor": 1.5,
        "norm_eps": 1e-5, "conv_bias": False, "conv_L_cache": 3, "layer_types": ["conv", "full_attention"] * 2,
    },
    "qwen3_next": {
        **EXPERTS, "head_dim": 32, "norm_topk_prob": True, "decoder_sparse_step": 1, "mlp_only_layers": [1],
        "shared_expert_intermediate_size": 32, "partial_rotary_factor": 0.25, "full_attention_interval": 3,
        "linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 16, "linear_value_head_dim": 24,
        "linear_conv_kernel_dim": 4, "tie_word_embeddings": False,
    },
}
FORMS = {  # beside dense and 4 bits
    "gpt_oss": {"-mxfp4": SMALL_FLOATS[0], "-blocks": SMALL_FLOATS[0]},
    "phi3": {"-nvfp4": SMALL_FLOATS[2]},  # projections packed in one
    "qwen3_moe": {f"-{form[0]}": form for form in SMALL_FLOATS},
    **{name: {"-published": (None, 0, 0)} for name in ("lfm2", "lfm2_moe", "qwen3_next")},
}
WINDOWLESS = ("gemma2", "mistral", "phi3", "qwen2", "starcoder2")


def write_family(model_type, extra, seed):
    """Dense and in 4 bits; four prompts each. mlx-lm's departures from transformers are undone here."""
    module = importlib.import_module(f"mlx_lm.models.{'llama' if model_type == 'mistral' else model_type}")
    create = module.create_attention_mask if model_type in WINDOWLESS else None
    if create:
        module.create_attention_mask = lambda h, c, **_: create(h, c, window_size=WINDOW, return_array=True)
    config = {"model_type": model_type, **FAMILY_BASE, **extra}
    for suffix, (mode, group, bits) in {"": (None, 0, 0), "-4bit": ("affine", 32, 4), **FORMS.get(model_type, {})}.items():
        mx.random.seed(seed)
        model = module.Model(module.ModelArgs.from_dict(config))
        if "gemma3" in model_type:
            getattr(model, "language_model", model).sanitize({})  # takes the head away
        model.load_weights([(name, initial(model_type, name, value)) for name, value in tree_flatten(model.parameters())])
        only_experts = (lambda path, _: ".experts." in path) if suffix == "-blocks" else None
        quantized = mode and quantize_model(model, dict(config), group, bits, mode=mode, quant_predicate=only_experts)
        written, stored = quantized or (model, config)
        folder = OUT / f"family-{model_type}{suffix}"
        folder.mkdir(parents=True)
        save_model(folder, written, donate_model=False)
        if model_type == "mixtral":
            unstack(folder / "model.safetensors")
        if suffix == "-published":
            as_published(folder / "model.safetensors", model_type)
        if suffix == "-blocks":
            into_blocks(folder / "model.safetensors")
            stored = {**config, "quantization_config": {"quant_method": "mxfp4"}}
        (folder / "config.json").write_text(json.dumps(stored))
        (folder / "expected.json").write_text(json.dumps([greedy(written, prompt, 32) for prompt in prompts(seed)]))
    if create:
        module.create_attention_mask = create


def unstack(path):
    """Each expert by itself, as transformers writes them."""
    names = {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}
    kept = {}
    for name, value in mx.load(str(path)).items():
        prefix, _, rest = name.partition("switch_mlp.")
        if not rest:
            kept[name] = value
            continue
        projection, part = rest.split(".")
        kept |= {f"{prefix}experts.{e}.{names[projection]}.{part}": value[e] for e in range(value.shape[0])}
    mx.eval(kept)
    mx.save_safetensors(str(path), kept, metadata={"format": "mlx"})
    path.with_name("model.safetensors.index.json").unlink()


def as_published(path, model_type):
    """As transformers write them: experts by themselves, channels of convolutions first, qwen3_next's norms less 1."""
    names = {} if model_type == "qwen3_next" else {"gate_proj": "w1", "up_proj": "w3", "down_proj": "w2"}
    kept = {}
    for name, value in mx.load(str(path)).items():
        shifted = model_type == "qwen3_next" and "norm" in name and "linear_attn" not in name
        value = value.moveaxis(2, 1) if "conv" in name and value.ndim == 3 else value - 1 if shifted else value
        for own, published in names.items():
            name = name.replace(own, published)
        prefix, _, rest = name.partition("switch_mlp.")
        kept |= {f"{prefix}experts.{e}.{rest}": value[e] for e in range(value.shape[0])} if rest else {name: value}
    mx.eval(kept)
    mx.save_safetensors(str(path), kept, metadata={"format": "mlx"})
    path.with_name("model.safetensors.index.json").unlink()


def into_blocks(path):
    """gpt-oss as OpenAI publishes it: bytes of MXFP4, the rows of gate and up in turn."""
    kept = mx.load(str(path))
    for layer in range(FAMILY_BASE["num_hidden_layers"]):
        at = f"model.layers.{layer}.mlp.experts."
        for name, parts in (("gate_up_proj", ("gate_proj", "up_proj")), ("down_proj", ("down_proj",))):
            for part, stored in (("weight", "_blocks"), ("scales", "_scales"), ("bias", "_bias")):
                stacks = [kept.pop(f"{at}{each}.{part}") for each in parts]
                if part == "weight":
                    stacks = [s.view(mx.uint8).reshape(*s.shape[:2], -1, 16) for s in stacks]
                turns = mx.stack(stacks, axis=2)
                kept[at + name + stored] = turns.reshape(turns.shape[0], -1, *turns.shape[3:])
    mx.eval(kept)
    mx.save_safetensors(str(path), kept, metadata={"format": "mlx"})
    path.with_name("model.safetensors.index.json").unlink()


def initial(model_type, name, value):
    spread = mx.random.normal(value.shape)
    if "gemma" in model_type and ("post_attention" in name or "post_feed" in name) and model_type != "gemma":
        return spread * 0.1 + 3  # or the embeddings, times the root of their size, decide all
    if "norm" in name and name.endswith("weight"):
        return spread * 0.1 + (0 if "gemma" in model_type else 1)
    return spread * 0.25


def prompts(seed):
    random = np.random.default_rng(seed)
    shared = random.integers(0, 256, 70).tolist()
    return [random.integers(0, 256, n).tolist() for n in (5, 19)] + [
        shared[:k] + random.integers(0, 256, n).tolist() for k, n in ((40, 9), (70, 20))
    ]


def write_families():
    nn.gelu = nn.gelu_approx  # mlx-lm takes erf for gemma and starcoder2
    for seed, (model_type, extra) in enumerate(FAMILIES.items(), 100):
        write_family(model_type, extra, seed)


HF_TO_GGUF = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
}


def gguf_name(name):
    stem, kind = name.rsplit(".", 1)
    if stem.startswith("model.layers."):
        _, _, layer, rest = stem.split(".", 3)
        return f"blk.{layer}.{HF_TO_GGUF[rest]}.{kind}"
    return f"{HF_TO_GGUF[stem]}.{kind}"


def paired(rows, heads):
    """Halves to pairs, as GGUF's llama stores q and k."""
    head_dim = rows.shape[0] // heads
    return rows.reshape(heads, 2, head_dim // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def unpaired(rows, heads):
    head_dim = rows.shape[0] // heads
    return rows.reshape(heads, head_dim // 2, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def heads_of(name, config):
    if "q_proj" in name:
        return config["num_attention_heads"]
    return config["num_key_value_heads"] if "k_proj" in name else None


def write_gguf(name, model, config, type_name, tokenizer=None, prompt=None, factors=None):
    path = OUT / name
    path.mkdir(parents=True)
    writer = gguf.GGUFWriter(str(path / "model.gguf"), "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_rope_dimension_count(config["hidden_size"] // config["num_attention_heads"])
    writer.add_vocab_size(config["vocab_size"])
    if tokenizer:
        tokenizer(writer)
    kind = gguf.GGMLQuantizationType[type_name]
    kept = []
    for name, value in tree_flatten(model.parameters()):
        dense = np.array(value.astype(mx.float32))
        heads = heads_of(name, config)
        stored = paired(dense, heads) if heads else dense
        used = kind if dense.ndim == 2 and (dense.shape[1] % 32 == 0 or type_name in ("F32", "F16", "BF16")) else gguf.GGMLQuantizationType.F32
        data = quants.quantize(stored, used)
        writer.add_tensor(gguf_name(name), data, raw_dtype=used)
        back = quants.dequantize(data, used).reshape(dense.shape).astype(np.float32)
        kept.append((name, mx.array(unpaired(back, heads) if heads else back)))
    if factors is not None:
        writer.add_tensor("rope_freqs.weight", np.array(factors, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    model.load_weights(kept)
    (path / "expected.json").write_text(json.dumps(greedy(model, PROMPT, STEPS)))


def llama3_factors(config, scaling):
    """The stretch of each wavelength, as converters write it into rope_freqs.weight."""
    dims = config["hidden_size"] // config["num_attention_heads"]
    plain = config["rope_theta"] ** (np.arange(0, dims, 2) / dims)
    model = Model(ModelArgs.from_dict({**config, "rope_scaling": scaling}))
    return np.array(model.layers[0].self_attn.rope._freqs) / plain


def write_ggufs():
    for number, type_name in enumerate(("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q8_0")):
        model, config = build({"tie_word_embeddings": number % 2 == 0}, 50 + number)
        write_gguf(f"gguf-{type_name}", model, config, type_name)
    scaling = VARIANTS["rope-llama3"]["rope_scaling"]
    model, config = build({"rope_scaling": scaling}, 60)
    write_gguf("gguf-rope-factors", model, config, "F32", factors=llama3_factors(BASE, scaling))
    released = {**scaling, "original_max_position_embeddings": 8192}
    model, config = build({"rope_theta": 500000.0, "rope_scaling": released}, 61)
    write_gguf("gguf-llama3", model, config, "F32", factors=llama3_factors(config, released))


# In the words of GGUF files; windows and patterns are those the files imply.
GGUF_FAMILIES = {
    "cohere2": FAMILIES["cohere2"],
    "gemma": GEMMA,
    "gemma2": {
        **GEMMA, "attn_logit_softcapping": 5.0, "final_logit_softcapping": 30.0, "query_pre_attn_scalar": 32,
        "sliding_window": 512,
    },
    "gemma3": {
        **GEMMA, "model_type": "gemma3_text", "sliding_window": WINDOW, "query_pre_attn_scalar": 32,
        "num_hidden_layers": 7, "rope_theta": 1000000.0, "rope_scaling": {"rope_type": "linear", "factor": 8.0},
    },
    "glm4": FAMILIES["glm4"],
    "gpt_oss": FAMILIES["gpt_oss"],
    "granite": {**FAMILIES["granite"], "attention_bias": True},
    "mixtral": {**FAMILIES["mixtral"], "tie_word_embeddings": False},
    "lfm2": {**FAMILIES["lfm2"], "conv_bias": False},
    "lfm2_moe": {**FAMILIES["lfm2_moe"], "routed_scaling_factor": 1.0, "tie_word_embeddings": True},
    "olmo2": FAMILIES["olmo2"],
    "phi3": {
        **FAMILIES["phi3"], "hidden_size": 128, "head_dim": None, "partial_rotary_factor": 0.5,
        "rope_scaling": {"type": "longrope", "short_factor": LONG + [7, 8], "long_factor": LONG + [7, 8]},
    },
    "qwen2": {"tie_word_embeddings": False},
    "qwen2_moe": FAMILIES["qwen2_moe"],
    "qwen3": {"head_dim": 32},
    "qwen3_moe": {**FAMILIES["qwen3_moe"], "mlp_only_layers": []},
    "qwen3_next": {**FAMILIES["qwen3_next"], "mlp_only_layers": []},
    "qwen3_next-merged": {**FAMILIES["qwen3_next"], "mlp_only_layers": [], "model_type": "qwen3_next"},
    "smollm3": {},
    "starcoder2": {"norm_epsilon": 1e-5},
}
GGUF_NAMES = {
    "gpt_oss": "gpt-oss", "lfm2_moe": "lfm2moe", "mixtral": "llama", "qwen2_moe": "qwen2moe", "qwen3_moe": "qwen3moe",
    "qwen3_next": "qwen3next", "qwen3_next-merged": "qwen3next",
}
PAIRED = ("granite", "mixtral", "smollm3")


def write_gguf_family(name, extra, seed):
    model_type = extra.get("model_type", name)
    module = importlib.import_module(f"mlx_lm.models.{model_type}")
    create = module.create_attention_mask if name == "phi3" else None
    if create:
        module.create_attention_mask = lambda h, c, **_: create(h, c, window_size=WINDOW, return_array=True)
    if name == "gpt_oss":  # the bounds of its yarn are not rounded
        rope_utils.math = types.SimpleNamespace(**{**vars(math), "floor": lambda x: x, "ceil": lambda x: x})
    mx.random.seed(seed)
    config = {"model_type": model_type, **FAMILY_BASE, **extra}
    model = module.Model(module.ModelArgs.from_dict(config))
    rope_utils.math = math
    if "gemma3" in model_type:
        model.sanitize({})
    model.load_weights([(key, initial(model_type, key, value)) for key, value in tree_flatten(model.parameters())])
    folder = OUT / f"family-{name}-gguf"
    folder.mkdir(parents=True)
    own_name = GGUF_NAMES.get(name, name)
    writer = gguf.GGUFWriter(str(folder / "model.gguf"), own_name)
    write_gguf_metadata(writer, config)
    arch = next(key for key, value in gguf.MODEL_ARCH_NAMES.items() if value == own_name)
    names = gguf.get_tensor_name_map(arch, config["num_hidden_layers"])
    kept = []
    for key, value in tree_flatten(model.parameters()):
        dense = np.array(value.astype(mx.float32))
        heads = heads_of(key, config) if name in PAIRED else None
        stored = paired(dense, heads) if heads else dense
        apart = key.endswith("in_proj_qkvz.weight") and name == "qwen3_next"
        order = rows_of_kinds(config) if apart else np.arange(len(dense))
        stored = -np.exp(stored[order]) if key.endswith("A_log") else stored[order]
        kind = gguf.GGMLQuantizationType[gguf_kind(name, key, dense)]
        more = 1 if "gemma" in name and "norm" in key else 0
        data = quants.quantize((stored + np.float32(more)).squeeze(), kind)
        back = quants.dequantize(data, kind).reshape(dense.shape).astype(np.float32) - np.float32(more)
        if apart:
            layer, gates = key.split(".")[2], config["linear_num_value_heads"] * config["linear_value_head_dim"]
            writer.add_tensor(f"blk.{layer}.attn_qkv.weight", data[:-gates], raw_dtype=kind)
            writer.add_tensor(f"blk.{layer}.attn_gate.weight", data[-gates:], raw_dtype=kind)
        else:
            writer.add_tensor(gguf_family_name(names, key), data, raw_dtype=kind)
        back = np.log(-back) if key.endswith("A_log") else back[np.argsort(order)]
        kept.append((key, mx.array(unpaired(back, heads) if heads else back)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    model.load_weights(kept)
    (folder / "expected.json").write_text(json.dumps([greedy(model, prompt, 32) for prompt in prompts(seed)]))
    if create:
        module.create_attention_mask = create


def rows_of_kinds(config):
    """Of qwen3_next's first projection: all queries, all keys, all values, all gates, where each key head has some of each."""
    heads, wide = config["linear_num_key_heads"], config["linear_num_value_heads"] * config["linear_value_head_dim"]
    sizes = (config["linear_key_head_dim"],) * 2 + (wide // heads,) * 2
    rows = np.arange(heads * sum(sizes)).reshape(heads, -1)
    return np.concatenate([part.reshape(-1) for part in np.split(rows, np.cumsum(sizes)[:-1], axis=1)])


def gguf_kind(name, key, dense):
    small = (".bias", "gate.weight", "conv.weight", "conv1d.weight")
    if dense.squeeze().ndim == 1 or key.endswith(small) or "router" in key:
        return "F32"
    return {"gpt_oss": "MXFP4", "mixtral": "Q5_0"}.get(name, "Q8_0") if dense.ndim == 3 else "Q8_0"


def gguf_family_name(names, key):
    """mlx-lm's name of a tensor by way of the one the model was published with."""
    if "block_sparse_moe.switch_mlp" in key:
        key = key.replace("switch_mlp.", "experts.")
        for own, published in (("gate_proj", "w1"), ("down_proj", "w2"), ("up_proj", "w3")):
            key = key.replace(own, published)
    if "feed_forward" in key:  # lfm2_moe
        key = key.replace("model.layers", "layers").replace("switch_mlp.", "experts.") if "switch_mlp" in key else key
        for own, published in (("gate_proj", "w1"), ("down_proj", "w2"), ("up_proj", "w3")):
            key = key.replace(own, published)
        key = key.replace("expert_bias", "expert_bias.bias")
    if key.endswith("A_log"):
        return names.get_name(key)
    key = key.replace("switch_mlp", "experts").replace("dt_bias", "dt_proj.bias")
    key = key if key.endswith((".weight", ".bias")) else f"{key}.weight"
    return names.get_name(key, try_suffixes=(".weight", ".bias"))


def write_gguf_metadata(writer, config):
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(128 if config["model_type"] == "lfm2" else config["intermediate_size"])  # adjusted
    writer.add_head_count(config["num_attention_heads"])
    if "lfm2" in config["model_type"]:
        kinds = config["layer_types"]
        writer.add_head_count_kv([0 if kind == "conv" else config["num_key_value_heads"] for kind in kinds])
        writer.add_shortconv_l_cache(config["conv_L_cache"])
    else:
        writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config.get("norm_eps", config["rms_norm_eps"]))
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_vocab_size(config["vocab_size"])
    if config["head_dim"]:
        writer.add_key_length(config["head_dim"])
    for field, add in {
        "attn_logit_softcapping": writer.add_attn_logit_softcapping,
        "final_logit_softcapping": writer.add_final_logit_softcapping,
        "sliding_window": writer.add_sliding_window,
        "attention_multiplier": writer.add_attention_scale,
        "embedding_multiplier": writer.add_embedding_scale,
        "residual_multiplier": writer.add_residual_scale,
        "logits_scaling": writer.add_logit_scale,
        "logit_scale": writer.add_logit_scale,
        "layer_norm_eps": writer.add_layer_norm_eps,
        "norm_epsilon": writer.add_layer_norm_eps,
        "num_experts": writer.add_expert_count,
        "num_local_experts": writer.add_expert_count,
        "num_experts_per_tok": writer.add_expert_used_count,
        "moe_intermediate_size": writer.add_expert_feed_forward_length,
        "shared_expert_intermediate_size": writer.add_expert_shared_feed_forward_length,
    }.items():
        if field in config:
            add(config[field])
    scaling = config.get("rope_scaling")
    if config["model_type"] == "lfm2_moe":
        writer.add_leading_dense_block_count(config["num_dense_layers"])
        writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
    if config["model_type"] == "qwen3_next":
        writer.add_ssm_conv_kernel(config["linear_conv_kernel_dim"])
        writer.add_ssm_state_size(config["linear_key_head_dim"])
        writer.add_ssm_group_count(config["linear_num_key_heads"])
        writer.add_ssm_time_step_rank(config["linear_num_value_heads"])
        writer.add_ssm_inner_size(config["linear_value_head_dim"] * config["linear_num_value_heads"])
        writer.add_full_attention_interval(config["full_attention_interval"])
    if "partial_rotary_factor" in config and config["model_type"] != "phi3":
        writer.add_rope_dimension_count(int(config["partial_rotary_factor"] * config["head_dim"]))
    if scaling and "factor" in scaling:
        writer.add_rope_scaling_type(gguf.RopeScalingType(scaling["rope_type"]))
        writer.add_rope_scaling_factor(scaling["factor"])
        if scaling["rope_type"] == "yarn":
            writer.add_rope_scaling_orig_ctx_len(scaling["original_max_position_embeddings"])
    elif scaling:  # phi3
        original = config["original_max_position_embeddings"]
        growth = math.log(config["max_position_embeddings"] / original) / math.log(original)
        writer.add_rope_dimension_count(int(config["partial_rotary_factor"] * 32))
        writer.add_rope_scaling_orig_ctx_len(original)
        writer.add_rope_scaling_attn_factors(math.sqrt(1 + growth))
        writer.add_tensor("rope_factors_short.weight", np.array(scaling["short_factor"], dtype=np.float32))
        writer.add_tensor("rope_factors_long.weight", np.array(scaling["long_factor"], dtype=np.float32))


def stories_tokenizer(writer):
    """The vocabulary of stories260K as SentencePiece files hold it: a score for each piece, higher merges first."""
    model = json.loads((STORIES / "tokenizer.json").read_text())["model"]
    pieces = sorted(model["vocab"], key=model["vocab"].get)
    rank = {}
    for number, merge in enumerate(model["merges"]):
        left, right = merge if isinstance(merge, list) else merge.split(" ")
        rank.setdefault(left + right, number)
    types = [2 if p == "<unk>" else 3 if p in ("<s>", "</s>") else 6 if p.startswith("<0x") else 1 for p in pieces]
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([p.encode() for p in pieces])
    writer.add_token_scores([-float(rank.get(p, 1000)) for p in pieces])
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(True)


def write_stories():
    config = json.loads((STORIES / "config.json").read_text())
    model, _ = load_model(STORIES)
    write_gguf("gguf-stories", model, config, "F32", tokenizer=stories_tokenizer)


mx.disable_compile()  # on the CPU it calls a C++ compiler
shutil.rmtree(OUT, ignore_errors=True)
write_folders()
write_families()
write_ggufs()
for number, (family, extra) in enumerate(GGUF_FAMILIES.items(), 200):
    write_gguf_family(family, extra, number)
if STORIES:
    write_stories()
(OUT / "complete").write_text("".join(path.read_text() for path in (Path(__file__), Path(__file__).with_name("greedy.py"))))
