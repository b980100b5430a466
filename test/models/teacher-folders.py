"""What mlx-lm draws from models in folders, in float32.

Usage: teacher-folders.py PROMPT_LENGTH FOLDER…
Prints for each folder what test/models/fixtures.ts calls Expected.
"""

import json
import sys
from pathlib import Path

import mlx.core as mx
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.utils import load_model

STEPS = 16


def greedy(folder):
    model, _ = load_model(Path(folder))
    model.set_dtype(mx.float32)
    prompt = [(7 * place) % 250 + 1 for place in range(int(sys.argv[1]))]
    cache = make_prompt_cache(model)
    logits = first = model(mx.array([prompt]), cache=cache)[0, -1]
    tokens, gaps = [], []
    while len(tokens) < STEPS:
        best = mx.sort(logits)[-2:]
        gaps.append((best[1] - best[0]).item())
        tokens.append(mx.argmax(logits).item())
        logits = model(mx.array([tokens[-1:]]), cache=cache)[0, -1]
    return {"prompt_ids": prompt, "token_ids": tokens, "gaps": gaps, "logits": first.tolist()}


mx.disable_compile()  # on the CPU it calls a C++ compiler
json.dump([greedy(folder) for folder in sys.argv[2:]], sys.stdout)
