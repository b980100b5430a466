"""Writes adapters for tiny models with mlx-lm, and what it says of each model with each.

Usage: adapters.py OUT_FOLDER BASE_MODEL…
OUT_FOLDER/<name of the base>/ gets base/ (the model), narrow/, wide/ and long/ (as mlx-lm's training leaves them: of some
projections, of all that it adapts unless told, and of those that may have lengths of rows), peft/ and peft-long/ (wide
and long as PEFT would have them) and expected.json: for "", "narrow", "wide" and "long" the answers to each prompt, in
float32.
"""

import json
import shutil
import sys
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten
from mlx_lm.models.switch_layers import QuantizedSwitchLinear, SwitchLinear
from mlx_lm.tuner.utils import linear_to_lora_layers, load_adapters
from mlx_lm.utils import load_model

from greedy import greedy

STEPS = 16
ADAPTERS = {
    "narrow": {"rank": 4, "scale": 6.0, "keys": lambda key: key.endswith(("q_proj", "v_proj", "qkv_proj")), "layers": 2},
    "wide": {"rank": 8, "scale": 3.0, "keys": None, "layers": 8},
    "long": {"rank": 4, "scale": 2.0, "keys": lambda key: "switch_mlp" not in key and ".experts." not in key, "layers": 8},
}
PEFT = {"wide": "peft", "long": "peft-long"}
LINEAR = (nn.Linear, nn.QuantizedLinear, SwitchLinear, QuantizedSwitchLinear)


def copy_base(source, folder):
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("expected.json"))
    config = json.loads((folder / "config.json").read_text())
    if config["model_type"] == "phi3":  # mlx-lm lets every layer see all
        (folder / "config.json").write_text(json.dumps({**config, "sliding_window": None}))


def write_adapter(base, folder, name, rank, scale, keys, layers):
    model, _ = load_model(base)
    model.freeze()
    count = min(layers, len(model.layers))
    parameters = {"rank": rank, "scale": scale, "dropout": 0.0}
    if keys:
        modules = [each for layer in model.layers for each in layer.named_modules()]
        parameters["keys"] = sorted({key for key, module in modules if isinstance(module, LINEAR) and keys(key)})
    linear_to_lora_layers(model, count, parameters, use_dora=name == "long")
    trained = tree_flatten(model.trainable_parameters())
    own = {key: changed(key, value) for key, value in trained}
    folder.mkdir()
    mx.save_safetensors(str(folder / "adapters.safetensors"), own)
    config = {"fine_tune_type": "dora" if name == "long" else "lora", "num_layers": count, "lora_parameters": parameters}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    assert own and all(key.endswith(("lora_a", "lora_b", ".m")) for key in own)
    return own


def changed(key, value):
    noise = mx.random.normal(value.shape)
    return value * (1 + 0.3 * noise) if key.endswith(".m") else noise * 0.1


def write_peft(folder, own, rank, scale, names, is_long):
    """Some projections have twice the rank, the rest of it zeros, and some another scale, which their matrices undo."""
    folder.mkdir()
    stored = {}
    for key, value in own.items():
        stem, part = key.rsplit(".", 1)
        at = f"base_model.model.{stem}"
        if part == "m":
            stored[f"{at}.lora_magnitude_vector"] = value
        elif value.ndim == 3:
            prefix, name = stem.rsplit(".switch_mlp.", 1)
            for expert in range(value.shape[0]):
                each = f"base_model.model.{prefix}.experts.{expert}.{names.get(name, name)}"
                stored |= matrices(each, part, value[expert], 2 if expert == 1 else 1)
        else:
            stored |= matrices(at, part, value.T, 2 if stem.endswith("o_proj") else 1)
    for key in stored:
        if "self_attn.v_proj.lora_B" in key:
            stored[key] = stored[key] / 2
    mx.eval(stored)
    mx.save_safetensors(str(folder / "adapter_model.safetensors"), stored)
    alpha = rank**0.5 * scale if is_long else rank * scale
    wide = 2**0.5 * alpha if is_long else 2 * alpha
    patterns = {"o_proj": wide, r".*experts\.1\..*": wide, "self_attn.v_proj": 2 * alpha}
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "bias": "none", "use_rslora": is_long,
              "modules_to_save": None, "alpha_pattern": patterns, "fan_in_fan_out": False, "use_dora": is_long,
              "rank_pattern": {"o_proj": 2 * rank}, "layers_to_transform": None}
    (folder / "adapter_config.json").write_text(json.dumps(config))


def matrices(name, part, value, times):
    """`value` (rank, columns) or (rows, rank), filled up with zeros to so many times its rank."""
    axis = 0 if part == "lora_a" else 1
    filled = mx.concatenate([value] + [mx.zeros_like(value)] * (times - 1), axis=axis)
    return {f"{name}.{'lora_A' if part == 'lora_a' else 'lora_B'}.weight": mx.contiguous(filled)}


def has_peft(base):
    """Where transformers have no experts with matrices of their own, PEFT's names are others."""
    return json.loads((base / "config.json").read_text())["model_type"] != "gpt_oss"


def write(source, out):
    copy_base(source, out / "base")
    random = np.random.default_rng(5)
    prompts = [random.integers(0, 256, n).tolist() for n in (7, 70)]
    expected = {}
    for name in ("", *ADAPTERS):
        if name:
            settings = ADAPTERS[name]
            own = write_adapter(out / "base", out / name, name, **settings)
        if name in PEFT and has_peft(out / "base"):
            names = {"gate_proj": "w1", "up_proj": "w3", "down_proj": "w2"} if "mixtral" in source.name else {}
            write_peft(out / PEFT[name], own, settings["rank"], settings["scale"], names, name == "long")
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
