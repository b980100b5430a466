"""Ollama's own client."""

from asked import CAPITAL, QUESTION, loop, clock, tell, use, weather
from ollama import Client


def agent(url):
    def turns(stream):
        messages = [{"role": "user", "content": QUESTION}]

        def turn():
            ask = {"model": "tiny", "messages": messages, "tools": [weather, clock]}
            parts = Client(url).chat(**ask, stream=True) if stream else [Client(url).chat(**ask)]
            said = [part.message for part in parts]
            calls = [call for message in said for call in message.tool_calls or []]
            text = "".join(message.content or "" for message in said)
            messages.append({"role": "assistant", "content": text, "tool_calls": calls})
            for call in calls:
                content = use(call.function.name, dict(call.function.arguments))
                messages.append({"role": "tool", "tool_name": call.function.name, "content": content})
            return None if calls else text

        return turn

    return [loop(turns(stream)) for stream in (False, True)]


def chat(url):
    ask = {
        "model": "SmolLM2-135M-Instruct",
        "messages": [{"role": "user", "content": CAPITAL}],
        "options": {"temperature": 0, "num_predict": 24},
    }
    server = Client(url)
    return {
        "whole": server.chat(**ask).message.content,
        "streamed": "".join(part.message.content for part in server.chat(**ask, stream=True)),
        "models": [model.model for model in server.list().models],
        "dimensions": len(server.embed(model="all-MiniLM-L6-v2", input="Paris").embeddings[0]),
    }


tell(agent=agent, chat=chat)
