"""Writes adapters for tiny models with mlx-lm, and what it says of each model with each.

Usage: adapters.py OUT_FOLDER BASE_MODEL…
OUT_FOLDER/<name of the base>/ gets base/ (the model), narrow/ and wide/ (as mlx-lm's training leaves them), peft/ (wide as
PEFT would have it) and expected.json: for "", "narrow" and "wide" the answers to each prompt, in float32.
"""

import json
import shutil
import sys
from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten
from mlx_lm.tuner.utils import linear_to_lora_layers, load_adapters
from mlx_lm.utils import load_model

from greedy import greedy

STEPS = 16
ADAPTERS = {
    "narrow": {"rank": 4, "scale": 6.0, "keys": lambda key: key.endswith(("q_proj", "v_proj", "qkv_proj")), "layers": 2},
    "wide": {"rank": 8, "scale": 3.0, "keys": lambda key: key.endswith("_proj"), "layers": 8},
}


def copy_base(source, folder):
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("expected.json"))
    config = json.loads((folder / "config.json").read_text())
    if config["model_type"] == "phi3":  # mlx-lm lets every layer see all
        (folder / "config.json").write_text(json.dumps({**config, "sliding_window": None}))


def write_adapter(base, folder, name, rank, scale, keys, layers):
    model, _ = load_model(base)
    model.freeze()
    count = min(layers, len(model.layers))
    targets = sorted({key for layer in model.layers for key, _ in layer.named_modules() if keys(key)})
    parameters = {"rank": rank, "scale": scale, "dropout": 0.0, "keys": targets}
    linear_to_lora_layers(model, count, parameters)
    names = [key for key, _ in tree_flatten(model.trainable_parameters())]
    own = {key: mx.random.normal(value.shape) * 0.1 for key, value in tree_flatten(model.trainable_parameters())}
    folder.mkdir()
    mx.save_safetensors(str(folder / "adapters.safetensors"), own)
    config = {"fine_tune_type": "lora", "num_layers": count, "lora_parameters": parameters}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    assert names and all(key.endswith(("lora_a", "lora_b")) for key in names)
    return own


def write_peft(folder, own, rank, scale):
    folder.mkdir()
    parts = {"lora_a": "lora_A.weight", "lora_b": "lora_B.weight"}
    stored = {}
    for key, value in own.items():
        stem, part = key.rsplit(".", 1)
        stored[f"base_model.model.{stem}.{parts[part]}"] = mx.contiguous(value.T)
    mx.eval(stored)
    mx.save_safetensors(str(folder / "adapter_model.safetensors"), stored)
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": rank * scale, "bias": "none", "use_rslora": False,
              "modules_to_save": None, "alpha_pattern": {}, "fan_in_fan_out": False, "use_dora": False}
    (folder / "adapter_config.json").write_text(json.dumps(config))


def write(source, out):
    copy_base(source, out / "base")
    random = np.random.default_rng(5)
    prompts = [random.integers(0, 256, n).tolist() for n in (7, 70)]
    expected = {}
    for name in ("", *ADAPTERS):
        if name:
            settings = ADAPTERS[name]
            own = write_adapter(out / "base", out / name, name, **settings)
        if name == "wide":
            write_peft(out / "peft", own, settings["rank"], settings["scale"])
        model, _ = load_model(out / "base")
        if name:
            load_adapters(model, str(out / name))
        model.eval()
        expected[name] = [greedy(model, prompt, STEPS) for prompt in prompts]
    (out / "expected.json").write_text(json.dumps(expected))


mx.disable_compile()  # on the CPU it calls a C++ compiler
mx.random.seed(11)
for base in map(Path, sys.argv[2:]):
    write(base, Path(sys.argv[1]) / base.name)
