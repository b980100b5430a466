"""OpenAI's own client."""

from asked import CAPITAL, QUESTION, TOOLS, loop, tell, use
from openai import OpenAI

FUNCTIONS = [
    {"type": "function", "function": {"name": name, "description": function.__doc__, "parameters": parameters}}
    for name, (function, parameters) in TOOLS.items()
]


def client(url):
    return OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)


def agent(url):
    """The last answer of the second loop, and all that lead to it, come in a stream."""

    def turns(stream):
        messages = [{"role": "user", "content": QUESTION}]
        ask = {"model": "tiny", "messages": messages, "tools": FUNCTIONS}

        def turn():
            if stream:
                with client(url).chat.completions.stream(**ask) as events:
                    message = events.get_final_completion().choices[0].message
            else:
                message = client(url).chat.completions.create(**ask).choices[0].message
            messages.append(message.model_dump(exclude_none=True, exclude={"parsed"}))
            for call in message.tool_calls or []:
                content = use(call.function.name, call.function.arguments)
                messages.append({"role": "tool", "tool_call_id": call.id, "content": content})
            return None if message.tool_calls else message.content

        return turn

    return [loop(turns(stream)) for stream in (False, True)] + [loop(responses(url))]


def responses(url):
    """Each is lost after a few events and then gone on with."""
    tools = [{"type": "function", **tool["function"], "strict": False} for tool in FUNCTIONS]
    asked = {"model": "tiny", "tools": tools, "input": QUESTION, "background": True}

    def turn():
        with client(url).responses.stream(**asked) as events:
            id = next(event.response.id for event in events if event.type == "response.created")
            seen = next(event.sequence_number for event in events if event.sequence_number > 3)
        with client(url).responses.stream(response_id=id, starting_after=seen) as events:
            response = events.get_final_response()
        calls = [item for item in response.output if item.type == "function_call"]
        outputs = [(call.call_id, use(call.name, call.arguments)) for call in calls]
        asked["previous_response_id"] = id
        asked["input"] = [{"type": "function_call_output", "call_id": id, "output": text} for id, text in outputs]
        return None if calls else response.output_text

    return turn


def chat(url):
    ask = {
        "model": "SmolLM2-135M-Instruct",
        "messages": [{"role": "user", "content": CAPITAL}],
        "temperature": 0,
        "max_tokens": 24,
    }
    server = client(url)
    whole = server.chat.completions.create(**ask).choices[0].message.content
    chunks = server.chat.completions.create(**ask, stream=True)
    vector = server.embeddings.create(model="all-MiniLM-L6-v2", input="Paris").data[0].embedding
    return {
        "whole": whole,
        "streamed": "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices),
        "models": [model.id for model in server.models.list()],
        "dimensions": len(vector),
    }


tell(agent=agent, chat=chat)
