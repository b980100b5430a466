"""Writes one model of random weights in three forms that hold the same numbers, to measure servers at a size that no test ships.

Usage: random-model.py OUT_FOLDER [TOKENIZER.gguf]

OUT_FOLDER gets NAME.Q4_1.gguf, NAME.Q4_0.gguf and the folder NAME in MLX's affine form (4 bits, groups of 32). The layout is
llama's, the sizes are those of Qwen3-0.6B. The tokenizer is that of the GGUF file given, filled up to the vocabulary's size
with words that no text contains. Needs numpy, gguf and safetensors.
"""

import json
import sys
from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import save_file

NAME = "random-0.6b"
HIDDEN, INTERMEDIATE, LAYERS = 1024, 3072, 28
HEADS, KV_HEADS, HEAD_DIM = 16, 8, 128
VOCABULARY, CONTEXT = 151_936, 8192
ROPE_THETA, NORM_EPSILON = 1e6, 1e-6
GROUP = 32
DEFAULT_TOKENIZER = "build/models/SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf"
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

# Standard deviation of the integers 0 to 15 drawn evenly.
NIBBLE_DEVIATION = np.sqrt((16**2 - 1) / 12)


def main(out, tokenizer_path):
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = read_tokenizer(tokenizer_path)
    writers = {form: open_gguf(out, form, tokenizer) for form in ("Q4_1", "Q4_0")}
    tensors = {}
    for name, file_name, rows, columns, heads in matrices():
        nibbles, scales = draw(rows, columns)
        put_affine(tensors, name, nibbles, scales)
        if heads:
            nibbles, scales = paired(nibbles, heads), paired(scales, heads)
        for form, writer in writers.items():
            put_blocks(writer, form, file_name, nibbles, scales)
    for name, file_name in norms():
        tensors[name] = np.ones(HIDDEN, np.float32)
        for writer in writers.values():
            writer.add_tensor(file_name, np.ones(HIDDEN, np.float32))
    for writer in writers.values():
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    write_folder(out / NAME, tensors, tokenizer)


def matrices():
    """Name in a folder, name in a GGUF file, rows, columns, and the heads whose rows that file stores in rotary pairs."""
    yield "model.embed_tokens", "token_embd", VOCABULARY, HIDDEN, 0
    for layer in range(LAYERS):
        folder, block = f"model.layers.{layer}", f"blk.{layer}"
        yield f"{folder}.self_attn.q_proj", f"{block}.attn_q", HEADS * HEAD_DIM, HIDDEN, HEADS
        yield f"{folder}.self_attn.k_proj", f"{block}.attn_k", KV_HEADS * HEAD_DIM, HIDDEN, KV_HEADS
        yield f"{folder}.self_attn.v_proj", f"{block}.attn_v", KV_HEADS * HEAD_DIM, HIDDEN, 0
        yield f"{folder}.self_attn.o_proj", f"{block}.attn_output", HIDDEN, HEADS * HEAD_DIM, 0
        yield f"{folder}.mlp.gate_proj", f"{block}.ffn_gate", INTERMEDIATE, HIDDEN, 0
        yield f"{folder}.mlp.up_proj", f"{block}.ffn_up", INTERMEDIATE, HIDDEN, 0
        yield f"{folder}.mlp.down_proj", f"{block}.ffn_down", HIDDEN, INTERMEDIATE, 0


def norms():
    for layer in range(LAYERS):
        yield f"model.layers.{layer}.input_layernorm.weight", f"blk.{layer}.attn_norm.weight"
        yield f"model.layers.{layer}.post_attention_layernorm.weight", f"blk.{layer}.ffn_norm.weight"
    yield "model.norm.weight", "output_norm.weight"


random = np.random.default_rng(1)


def draw(rows, columns):
    """Integers (rows, columns) of 0 to 15 and scales (rows, groups); a weight is scale * (integer - 8).

    The scale keeps what a row gives for an input of deviation 1 at about 1, so that no value runs away over the layers.
    """
    nibbles = random.integers(0, 16, (rows, columns), np.uint8)
    spread = random.uniform(0.75, 1.25, (rows, columns // GROUP))
    return nibbles, (spread / NIBBLE_DEVIATION / np.sqrt(columns)).astype(np.float16)


def paired(values, heads):
    """Rows of each head from halves, as a folder has them, to pairs, as GGUF's llama has them."""
    shape = values.shape
    return values.reshape(heads, 2, shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(shape)


def put_affine(tensors, name, nibbles, scales):
    eight = nibbles.reshape(nibbles.shape[0], -1, 8).astype(np.uint32)
    tensors[f"{name}.weight"] = np.bitwise_or.reduce(eight << np.arange(0, 32, 4, np.uint32), axis=2)
    tensors[f"{name}.scales"] = scales
    tensors[f"{name}.biases"] = scales * np.float16(-8)  # a power of two: exact


def put_blocks(writer, form, file_name, nibbles, scales):
    rows, columns = nibbles.shape
    blocks = nibbles.reshape(rows, columns // GROUP, 2, GROUP // 2)
    packed = blocks[:, :, 0] | (blocks[:, :, 1] << 4)
    heads = [scales] if form == "Q4_0" else [scales, scales * np.float16(-8)]
    parts = [np.ascontiguousarray(head[..., None]).view(np.uint8) for head in heads]
    data = np.concatenate([*parts, packed], axis=2).reshape(rows, -1)
    kind = gguf.GGMLQuantizationType[form]
    writer.add_tensor(f"{file_name}.weight", data, raw_dtype=kind)


def read_tokenizer(path):
    """The tokens, types and merges of a byte-level tokenizer, filled up to the vocabulary's size."""
    fields = gguf.GGUFReader(path).fields
    value = lambda key: fields[f"tokenizer.ggml.{key}"].contents()
    tokens, types = value("tokens"), value("token_type")
    filler = [f"\u0120word{number}" for number in range(VOCABULARY - len(tokens))]
    return {
        "pre": value("pre"),
        "tokens": tokens + filler,
        "types": types + [int(gguf.TokenType.NORMAL)] * len(filler),
        "merges": value("merges"),
        "end": value("eos_token_id"),
    }


def open_gguf(out, form, tokenizer):
    writer = gguf.GGUFWriter(out / f"{NAME}.{form}.gguf", "llama")
    writer.add_name(NAME)
    writer.add_file_type(gguf.LlamaFileType[f"MOSTLY_{form}"])
    writer.add_block_count(LAYERS)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(INTERMEDIATE)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_key_length(HEAD_DIM)
    writer.add_value_length(HEAD_DIM)
    writer.add_rope_dimension_count(HEAD_DIM)
    writer.add_rope_freq_base(ROPE_THETA)
    writer.add_layer_norm_rms_eps(NORM_EPSILON)
    writer.add_vocab_size(VOCABULARY)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(tokenizer["pre"])
    writer.add_token_list(tokenizer["tokens"])
    writer.add_token_types(tokenizer["types"])
    writer.add_token_merges(tokenizer["merges"])
    writer.add_eos_token_id(tokenizer["end"])
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)
    return writer


def write_folder(folder, tensors, tokenizer):
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "mlx"})
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD_DIM,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": NORM_EPSILON,
        "rope_theta": ROPE_THETA,
        "tie_word_embeddings": True,
        "eos_token_id": tokenizer["end"],
        "quantization": {"group_size": GROUP, "bits": 4, "mode": "affine"},
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer_json(tokenizer), ensure_ascii=False))
    settings = {"chat_template": TEMPLATE, "eos_token": tokenizer["tokens"][tokenizer["end"]], "add_bos_token": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))


def tokenizer_json(tokenizer):
    if tokenizer["pre"] != "smollm":
        sys.exit(f'Cannot write tokenizer.json: the pre-tokenizer is "{tokenizer["pre"]}", known is smollm')
    special = [
        {"id": id, "content": text, "special": True, "normalized": False}
        | {"single_word": False, "lstrip": False, "rstrip": False}
        for id, (text, kind) in enumerate(zip(tokenizer["tokens"], tokenizer["types"]))
        if kind == gguf.TokenType.CONTROL
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "added_tokens": special,
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level],
        },
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {text: id for id, text in enumerate(tokenizer["tokens"])},
            "merges": tokenizer["merges"],
        },
    }


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) == 3 else DEFAULT_TOKENIZER)
