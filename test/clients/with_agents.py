"""OpenAI's Agents, by chats and by responses."""

from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from asked import CAPITAL, QUESTION, called, clock, tell, weather
from openai import AsyncOpenAI

set_tracing_disabled(True)


def models(url, name):
    client = AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
    return [model(name, client) for model in (OpenAIChatCompletionsModel, OpenAIResponsesModel)]


def agent(url):
    def run(model):
        called.clear()
        asked = Agent("agent", model=model, tools=[function_tool(weather), function_tool(clock)])
        text = Runner.run_sync(asked, QUESTION).final_output
        return {"text": text, "called": list(called)}

    return [run(model) for model in models(url, "tiny")]


def chat(url):
    settings = ModelSettings(temperature=0, max_tokens=24)
    asked = [Agent("agent", model=model, model_settings=settings) for model in models(url, "SmolLM2-135M-Instruct")]
    whole, *texts = [Runner.run_sync(agent, CAPITAL).final_output for agent in asked]
    return {"whole": whole, "texts": texts}


tell(agent=agent, chat=chat)
