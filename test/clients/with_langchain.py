"""LangChain with its models for each of the three protocols."""

from asked import CAPITAL, QUESTION, clock, loop, tell, weather
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_ollama import ChatOllama
from langchain_openai import ChatOpenAI

FUNCTIONS = {function.name: function for function in (tool(weather), tool(clock))}


def models(url, name):
    openai = {"model": name, "base_url": f"{url}/v1", "api_key": "none", "temperature": 0, "max_retries": 0}
    return [
        ChatOpenAI(**openai),
        ChatOpenAI(**openai, use_responses_api=True),
        ChatAnthropic(model=name, base_url=url, api_key="none", temperature=0, max_tokens=500, max_retries=0),
        ChatOllama(model=name, base_url=url, temperature=0),
    ]


def agent(url):
    def turns(model):
        able = model.bind_tools(list(FUNCTIONS.values()))
        messages = [HumanMessage(QUESTION)]

        def turn():
            message = None
            for chunk in able.stream(messages):
                message = chunk if message is None else message + chunk
            messages.append(message)
            messages.extend(FUNCTIONS[call["name"]].invoke(call) for call in message.tool_calls)
            return None if message.tool_calls else message.text

        return turn

    return [loop(turns(model)) for model in models(url, "tiny")]


def chat(url):
    texts = [model.invoke(CAPITAL).text for model in models(url, "SmolLM2-135M-Instruct")]
    return {"whole": texts[0], "texts": texts}


tell(agent=agent, chat=chat)
