"""What mlx-lm draws after a prompt, as test/models/fixtures.ts calls Expected. Knows no file."""

import mlx.core as mx
from mlx_lm.models.cache import make_prompt_cache


def greedy(model, prompt, steps):
    """In float32, on the weights as they are."""
    model.set_dtype(mx.float32)
    cache = make_prompt_cache(model)
    logits = first = model(mx.array([prompt]), cache=cache)[0, -1]
    tokens, gaps = [], []
    while len(tokens) < steps:
        best = mx.sort(logits)[-2:]
        gaps.append((best[1] - best[0]).item())
        tokens.append(mx.argmax(logits).item())
        logits = model(mx.array([tokens[-1:]]), cache=cache)[0, -1]
    return {"prompt_ids": prompt, "token_ids": tokens, "gaps": gaps, "logits": first.tolist()}
