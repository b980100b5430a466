"""What an encoder of the BERT family gives, in float64 by numpy, one text at a time, straight from the safetensors file.

Usage: encoder-oracle.py FOLDER < JSON of {"texts": [...], "tokens_max": n} or {"token_ids": [[...]], "types": [[...]]}
Texts are tokenised by the tokenizers package and pooled by their mean, normalised; given tokens are scored by the
classifier where there is one, else pooled the same. Prints {"token_ids": [[...]], "values": [[...]]}.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

FOLDER = Path(sys.argv[1])
config = json.loads((FOLDER / "config.json").read_text())


def load_file(path):
    raw = path.read_bytes()
    begin = 8 + int.from_bytes(raw[:8], "little")
    for name, entry in json.loads(raw[8:begin]).items():
        if name == "__metadata__" or entry["dtype"] != "F32":
            continue
        start, end = entry["data_offsets"]
        flat = np.frombuffer(raw[begin + start : begin + end], np.float32)
        yield name, flat.reshape(entry["shape"]).astype(np.float64)


stored = dict(load_file(FOLDER / "model.safetensors"))
PREFIX = next((p for p in ("bert.", "roberta.") if p + "embeddings.word_embeddings.weight" in stored), "")
HEADS = config["num_attention_heads"]
erf = np.vectorize(math.erf)


def linear(x, name):
    return x @ stored[f"{name}.weight"].T + stored[f"{name}.bias"]


def norm(x, name):
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + config["layer_norm_eps"])
    return scaled * stored[f"{name}.weight"] + stored[f"{name}.bias"]


def attend(x, name):
    split = lambda y: y.reshape(len(x), HEADS, -1).transpose(1, 0, 2)
    q, k, v = (split(linear(x, f"{name}.self.{part}")) for part in ("query", "key", "value"))
    scores = q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[-1])
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = shares / shares.sum(-1, keepdims=True) @ v
    return linear(mixed.transpose(1, 0, 2).reshape(len(x), -1), f"{name}.output.dense")


def states(ids, types):
    first = 0 if config["model_type"] == "bert" else config["pad_token_id"] + 1
    table = lambda name, numbers: stored[f"{PREFIX}embeddings.{name}_embeddings.weight"][numbers]
    x = table("word", ids) + table("position", np.arange(len(ids)) + first) + table("token_type", types)
    x = norm(x, f"{PREFIX}embeddings.LayerNorm")
    for layer in range(config["num_hidden_layers"]):
        name = f"{PREFIX}encoder.layer.{layer}"
        x = norm(x + attend(x, f"{name}.attention"), f"{name}.attention.output.LayerNorm")
        up = linear(x, f"{name}.intermediate.dense")
        fed = linear(up * 0.5 * (1 + erf(up / math.sqrt(2))), f"{name}.output.dense")
        x = norm(x + fed, f"{name}.output.LayerNorm")
    return x


def value(ids, types):
    x = states(ids, types)
    if "classifier.weight" in stored:
        return linear(np.tanh(linear(x[0], f"{PREFIX}pooler.dense")), "classifier").tolist()
    if "classifier.out_proj.weight" in stored:
        return linear(np.tanh(linear(x[0], "classifier.dense")), "classifier.out_proj").tolist()
    mean = x.mean(0)
    return (mean / np.linalg.norm(mean)).tolist()


asked = json.load(sys.stdin)
if "texts" in asked:
    tokenizer = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(asked["tokens_max"])
    read = [tokenizer.encode(*text) if isinstance(text, list) else tokenizer.encode(text) for text in asked["texts"]]
    token_ids, types = [each.ids for each in read], [each.type_ids for each in read]
else:
    token_ids, types = asked["token_ids"], asked["types"]
values = [value(ids, kinds) for ids, kinds in zip(token_ids, types)]
json.dump({"token_ids": token_ids, "values": values}, sys.stdout)
