"""What the reference package `gguf` writes and reads. Knows nothing of the code under test.

oracle.py write FOLDER: one small file for each tensor type, NAME.gguf, and its weights as float32, NAME.f32.
oracle.py read MODEL FOLDER TENSOR…: all of the header as header.json, the first rows of each tensor as float32, TENSOR.f32.
"""

import json
import sys
from pathlib import Path

import gguf
import numpy as np
from gguf.quants import dequantize, quantize

ROWS_READ = 256


def write(folder):
    random = np.random.default_rng(7)
    weights = random.standard_normal((24, 256)).astype(np.float32)
    weights[3] = 0
    weights[4] *= 1e-6  # scales below the smallest normal half float
    weights[5] *= 1.5e4
    for name in ("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q8_0"):
        kind = gguf.GGMLQuantizationType[name]
        data = quantize(weights, kind)
        save(folder / f"{name}.gguf", data, kind)
        dequantize(data, kind).astype("<f4").tofile(folder / f"{name}.f32")
    # The package reads K-quants and does not write them: any bytes make a block, around factors that are finite.
    for name, factors in {"Q5_0": [0], "Q5_1": [0, 2], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q2_K": [80, 82], "Q3_K": [108], "Q6_K": [208]}.items():
        kind = gguf.GGMLQuantizationType[name]
        elements, size = gguf.GGML_QUANT_SIZES[kind]
        blocks = random.integers(0, 256, (24 * 256 // elements, size), dtype=np.uint8)
        for at in factors:
            blocks[:, at : at + 2] = random.standard_normal((len(blocks), 1)).astype(np.float16).view(np.uint8)
        data = blocks.reshape(24, -1)
        save(folder / f"{name}.gguf", data, kind)
        dequantize(data, kind).astype("<f4").tofile(folder / f"{name}.f32")
    sizes = {kind.value: [kind.name, *gguf.GGML_QUANT_SIZES[kind]] for kind in gguf.GGMLQuantizationType}
    (folder / "types.json").write_text(json.dumps(sizes))


def save(path, data, kind):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_string("text", "né\n\U0001f600")
    writer.add_array("strings", ["", "Ġa", "▁b"])
    writer.add_array("integers", [-1, 2, 3])
    writer.add_array("floats", [0.5, -1.5])
    writer.add_bool("yes", True)
    writer.add_uint64("large", 2**53 + 1)
    writer.add_int16("short", -300)
    writer.add_float64("double", 0.1)
    writer.add_tensor("w", data, raw_dtype=kind)
    writer.add_tensor("norm", np.ones(5, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read(model, folder, names):
    reader = gguf.GGUFReader(model)
    own = ("GGUF.version", "GGUF.tensor_count", "GGUF.kv_count")
    metadata = {key: field.contents() for key, field in reader.fields.items() if key not in own}
    tensors = []
    for tensor in reader.tensors:
        shape = [int(size) for size in reversed(tensor.shape)]
        tensors.append([tensor.name, shape, tensor.tensor_type.name, int(tensor.data_offset), int(tensor.n_bytes)])
        if tensor.name in names:
            rows = dequantize(tensor.data[:ROWS_READ], tensor.tensor_type)
            rows.astype("<f4").tofile(folder / f"{tensor.name}.f32")
    (folder / "header.json").write_text(json.dumps({"metadata": metadata, "tensors": tensors}))


if sys.argv[1] == "write":
    write(Path(sys.argv[2]))
else:
    read(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
