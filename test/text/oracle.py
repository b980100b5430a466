"""Answers what the reference implementations answer: the `tokenizers` package and Jinja2 with the settings of transformers.

Reads a file with a JSON array of requests and prints a JSON array of answers; knows nothing of the code under test.
"""

import json
import sys
from datetime import datetime

import jinja2
import jinja2.ext
import jinja2.sandbox
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers


class GenerationTag(jinja2.ext.Extension):
    """transformers marks the assistant's part with {% generation %}; for the text it is transparent."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.Scope(body, lineno=line)


def environment(now):
    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, jinja2.ext.loopcontrols]
    )
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = now.strftime
    return env


templates = {}


def render(request):
    key = (request["now"], request["template"])
    try:
        if key not in templates:
            templates[key] = environment(datetime.fromisoformat(key[0])).from_string(key[1])
        return {"text": templates[key].render(**request["variables"])}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


loaded = {}


def tokenizer(request):
    key = request["tokenizer"]
    if key not in loaded:
        loaded[key] = Tokenizer.from_file(key) if key.endswith(".json") else Tokenizer.from_str(key)
        loaded[key].no_truncation()
        loaded[key].no_padding()
    return loaded[key]


def encode(request):
    source = tokenizer(request)
    source.encode_special_tokens = request.get("special_as_text", False)
    add = request.get("add_special", False)
    return [source.encode(text, add_special_tokens=add).ids for text in request["texts"]]


def decode(request):
    source = tokenizer(request)
    return [source.decode(ids, skip_special_tokens=True) for ids in request["ids"]]


def smollm(request):
    """The tokenizer of a SmolLM GGUF file, built from the reference reader's view of it by the reference's own parts."""
    import gguf

    fields = gguf.GGUFReader(request["path"]).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    kinds = fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"].contents()]
    made = Tokenizer(models.BPE(vocab={token: id for id, token in enumerate(tokens)}, merges=merges))
    digits = pre_tokenizers.Digits(individual_digits=True)
    words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    made.pre_tokenizer = pre_tokenizers.Sequence([digits, words])
    made.decoder = decoders.ByteLevel()
    control = gguf.TokenType.CONTROL
    made.add_special_tokens([AddedToken(t, normalized=False) for t, kind in zip(tokens, kinds) if kind == control])
    return made.to_str()


ACTS = {"render": render, "encode": encode, "decode": decode, "smollm": smollm}

sys.stdout.reconfigure(encoding="utf-8")
with open(sys.argv[1], encoding="utf-8") as file:
    json.dump([ACTS[request["act"]](request) for request in json.load(file)], sys.stdout)
