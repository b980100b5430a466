"""Anthropic's own client."""

from anthropic import Anthropic
from asked import CAPITAL, QUESTION, TOOLS, loop, tell, use

FUNCTIONS = [
    {"name": name, "description": function.__doc__, "input_schema": parameters}
    for name, (function, parameters) in TOOLS.items()
]


def client(url):
    return Anthropic(base_url=url, api_key="none", max_retries=0)


def agent(url):
    def turns(stream):
        messages = [{"role": "user", "content": QUESTION}]
        ask = {"model": "tiny", "max_tokens": 500, "messages": messages, "tools": FUNCTIONS}

        def turn():
            if stream:
                with client(url).messages.stream(**ask) as events:
                    message = events.get_final_message()
            else:
                message = client(url).messages.create(**ask)
            messages.append({"role": "assistant", "content": message.content})
            calls = [block for block in message.content if block.type == "tool_use"]
            results = [
                {"type": "tool_result", "tool_use_id": call.id, "content": use(call.name, call.input)} for call in calls
            ]
            messages.append({"role": "user", "content": results})
            assert (message.stop_reason == "tool_use") == bool(calls)
            return None if calls else "".join(block.text for block in message.content)

        return turn

    return [loop(turns(stream)) for stream in (False, True)]


def chat(url):
    messages = [{"role": "user", "content": CAPITAL}]
    ask = {"model": "SmolLM2-135M-Instruct", "messages": messages, "max_tokens": 24}
    server = client(url)
    whole = server.messages.create(**ask)
    counted = server.messages.count_tokens(model=ask["model"], messages=messages)
    with server.messages.stream(**ask) as events:
        streamed = "".join(events.text_stream)
    return {
        "whole": whole.content[0].text,
        "streamed": streamed,
        "models": [model.id for model in server.models.list()],
        "counts_apart": counted.input_tokens - whole.usage.input_tokens - whole.usage.cache_read_input_tokens,
    }


tell(agent=agent, chat=chat)
