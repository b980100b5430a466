"""LiteLLM as a client, in each of the three protocols."""

import litellm
from asked import CAPITAL, QUESTION, TOOLS, loop, tell, use

FUNCTIONS = [
    {"type": "function", "function": {"name": name, "description": function.__doc__, "parameters": parameters}}
    for name, (function, parameters) in TOOLS.items()
]


def ways(url):
    return [("openai/", f"{url}/v1"), ("anthropic/", url), ("ollama_chat/", url)]


def agent(url):
    def turns(prefix, base):
        messages = [{"role": "user", "content": QUESTION}]

        def turn():
            chunks = litellm.completion(
                model=f"{prefix}tiny",
                api_base=base,
                api_key="none",
                messages=messages,
                tools=FUNCTIONS,
                max_tokens=500,
                stream=True,
            )
            message = litellm.stream_chunk_builder(list(chunks), messages=messages).choices[0].message
            messages.append(message.model_dump(exclude_none=True))
            for call in message.tool_calls or []:
                content = use(call.function.name, call.function.arguments)
                messages.append({"role": "tool", "tool_call_id": call.id, "content": content})
            return None if message.tool_calls else message.content

        return turn

    return [loop(turns(prefix, base)) for prefix, base in ways(url)]


def chat(url):
    answers = [
        litellm.completion(
            model=f"{prefix}SmolLM2-135M-Instruct",
            api_base=base,
            api_key="none",
            messages=[{"role": "user", "content": CAPITAL}],
            temperature=0,
            max_tokens=24,
        )
        for prefix, base in ways(url)
    ]
    texts = [answer.choices[0].message.content for answer in answers]
    return {"whole": texts[0], "texts": texts}


tell(agent=agent, chat=chat)
