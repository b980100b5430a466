"""What mlx-lm draws from models in folders, in float32.

Usage: teacher-folders.py PROMPT_LENGTH FOLDER…
Prints for each folder what test/models/fixtures.ts calls Expected.
"""

import json
import sys
from pathlib import Path

import mlx.core as mx
from mlx_lm.utils import load_model

from greedy import greedy

STEPS = 16


mx.disable_compile()  # on the CPU it calls a C++ compiler
prompt = [(7 * place) % 250 + 1 for place in range(int(sys.argv[1]))]
json.dump([greedy(load_model(Path(folder))[0], prompt, STEPS) for folder in sys.argv[2:]], sys.stdout)
