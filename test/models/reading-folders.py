"""Writes tiny models in the layouts of Qwen3-Embedding and Qwen3-Reranker, and what mlx-lm makes of texts with them.

Usage: reading-folders.py OUT_FOLDER
Makes OUT_FOLDER/embedding, /reranker (as first published: its card says that it ranks) and /reranker-modules (as
sentence-transformers has it), and expected.json: token ids with the vector of each text, and with the score of each pair.
"""

import json
import sys
from pathlib import Path

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.models.qwen3 import Model, ModelArgs
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

OUT = Path(sys.argv[1])
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
THOUGHT = ("<think>", "</think>")
WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CONFIG = {
    "architectures": ["Qwen3ForCausalLM"], "attention_bias": False, "attention_dropout": 0.0, "bos_token_id": 259,
    "eos_token_id": 259, "head_dim": 16, "hidden_act": "silu", "hidden_size": 64, "initializer_range": 0.02,
    "intermediate_size": 96, "max_position_embeddings": 32768, "max_window_layers": 3, "model_type": "qwen3",
    "num_attention_heads": 4, "num_hidden_layers": 3, "num_key_value_heads": 2, "rms_norm_eps": 1e-06,
    "rope_scaling": None, "rope_theta": 1000000, "sliding_window": None, "tie_word_embeddings": True,
    "torch_dtype": "bfloat16", "use_cache": True, "use_sliding_window": False, "vocab_size": 272,
}
TASK = "Given a web search query, retrieve relevant passages that answer the query"
TEXTS = [
    "What is the capital of China?", f"Instruct: {TASK}\nQuery:What is the capital of China?", "Explain gravity.",
    "don't — 北京 🎉\n\n  x_y=3.14", "",
]
PAIRS = [("What is the capital of China?", "The capital of China is Beijing."), ("Explain gravity", "yes\nno")]
JUDGE = (
    "Judge whether the Document meets the requirements based on the Query and the Instruct provided. "
    'Note that the answer can only be "yes" or "no".'
)
BEFORE = f"<|im_start|>system\n{JUDGE}<|im_end|>\n<|im_start|>user\n"
BEHIND = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
TEMPLATE = (
    "<|im_start|>system\n" + JUDGE + "<|im_end|>\n<|im_start|>user\n<Instruct>: " + TASK + "\n"
    "{%- for message in messages %}{%- if message.role == 'query' %}{{ '\\n<Query>: ' + message.content }}{%- endif %}"
    "{%- if message.role == 'document' %}{{ '\\n<Document>: ' + message.content }}{%- endif %}{%- endfor %}"
    "{{ '<|im_end|>\\n<|im_start|>assistant\\n<think>\\n\\n</think>\\n\\n' }}"
)


def tokenizer(ends):
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {letter: id for id, letter in enumerate([*letters, "no", "ye", "yes"])}
    made = Tokenizer(models.BPE(vocab=vocab, merges=[("n", "o"), ("y", "e"), ("ye", "s")]))
    made.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(WORDS), "isolated")
    made.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(token, normalized=False) for token in SPECIAL])
    made.add_tokens([AddedToken(token, normalized=False) for token in THOUGHT])
    if ends:
        end = ("<|endoftext|>", made.token_to_id("<|endoftext|>"))
        template = processors.TemplateProcessing(single="$A <|endoftext|>", pair="$A $B <|endoftext|>", special_tokens=[end])
        made.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    return made


def write(name, model, files, ends=False, head=True):
    folder = OUT / name
    made = tokenizer(ends)
    described = {
        "add_bos_token": False, "add_prefix_space": False, "bos_token": None, "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>", "errors": "replace", "model_max_length": 131072, "pad_token": "<|endoftext|>",
        "split_special_tokens": False, "tokenizer_class": "Qwen2Tokenizer", "unk_token": None,
        "added_tokens_decoder": {
            str(made.token_to_id(token)): {
                "content": token, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False,
                "special": token in SPECIAL,
            }
            for token in (*SPECIAL, *THOUGHT)
        },
    }
    generation = {"bos_token_id": 259, "eos_token_id": 259, "max_new_tokens": 2048, "transformers_version": "4.51.3"}
    written = {"config.json": CONFIG, "tokenizer_config.json": described, "generation_config.json": generation, **files}
    for file, content in written.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    made.save(str(folder / "tokenizer.json"))
    weights = {(key if head else key.removeprefix("model.")): value for key, value in tree_flatten(model.parameters())}
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "pt"})
    return made


def modules(*types):
    places = ["", *(f"{place}_{kind}" for place, kind in enumerate(types[1:], 1))]
    return [
        {"idx": idx, "name": str(idx), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for idx, (kind, path) in enumerate(zip(types, places))
    ]


def random_model(seed):
    mx.random.seed(seed)
    model = Model(ModelArgs.from_dict(CONFIG))
    for key, value in tree_flatten(model.parameters()):
        spread = mx.random.normal(value.shape) * (0.1 if "norm" in key else 0.25)
        model.load_weights([(key, 1 + spread if "norm" in key else spread)], strict=False)
    model.set_dtype(mx.bfloat16)
    return model


def embed(model, made):
    answers = []
    for text in TEXTS:
        ids = made.encode(text).ids
        last = model.model(mx.array([ids]))[0, -1]
        answers.append({"text": text, "token_ids": ids, "vector": (last / mx.linalg.norm(last)).tolist()})
    return answers


def rank(model, made):
    answers = []
    yes, no = made.token_to_id("yes"), made.token_to_id("no")
    for query, document in PAIRS:
        ids = made.encode(f"{BEFORE}<Instruct>: {TASK}\n<Query>: {query}\n<Document>: {document}{BEHIND}").ids
        logits = model(mx.array([ids]))[0, -1]
        answers.append({"query": query, "document": document, "score": mx.sigmoid(logits[yes] - logits[no]).item()})
    return answers


mx.disable_compile()  # on the CPU it calls a C++ compiler
pooling = {
    "word_embedding_dimension": 64, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": False,
    "pooling_mode_max_tokens": False, "pooling_mode_mean_sqrt_len_tokens": False,
    "pooling_mode_weightedmean_tokens": False, "pooling_mode_lasttoken": True, "include_prompt": True,
}
said = {
    "prompts": {"query": f"Instruct: {TASK}\nQuery:", "document": ""}, "default_prompt_name": None,
    "similarity_fn_name": "cosine",
}
card = "---\nlicense: apache-2.0\nbase_model:\n- Qwen/Qwen3-0.6B-Base\nlibrary_name: transformers\npipeline_tag: text-ranking\n---\n# Qwen3-Reranker\n"
embedder, ranker = random_model(1), random_model(2)
files = {
    "1_Pooling/config.json": pooling, "config_sentence_transformers.json": said,
    "modules.json": modules("Transformer", "Pooling", "Normalize"),
}
ending = write("embedding", embedder, files, ends=True, head=False)
plain = write("reranker", ranker, {"README.md": card})
ids = {"true_token_id": plain.token_to_id("yes"), "false_token_id": plain.token_to_id("no")}
write("reranker-modules", ranker, {
    "1_LogitScore/config.json": ids, "modules.json": modules("Transformer", "LogitScore"), "chat_template.jinja": TEMPLATE,
    "config_sentence_transformers.json": {"prompts": {}, "activation_fn": "torch.nn.modules.activation.Sigmoid"},
})
for each in (embedder, ranker):
    each.set_dtype(mx.float32)
(OUT / "expected.json").write_text(json.dumps({"texts": embed(embedder, ending), "pairs": rank(ranker, plain)}))
