"""OpenAI's Agents, by chats and by responses."""

import asyncio

from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    SQLiteSession,
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

    return [run(model) for model in models(url, "tiny")] + [asyncio.run(streamed(models(url, "tiny")[1]))]


async def streamed(model):
    """Its talk is kept by the client, which says it again in items."""
    called.clear()
    asked = Agent("agent", model=model, tools=[function_tool(weather), function_tool(clock)])
    running = Runner.run_streamed(asked, QUESTION, session=SQLiteSession("talk"))
    async for _ in running.stream_events():
        pass
    return {"text": running.final_output, "called": list(called)}


def chat(url):
    settings = ModelSettings(temperature=0, max_tokens=24)
    asked = [Agent("agent", model=model, model_settings=settings) for model in models(url, "SmolLM2-135M-Instruct")]
    whole, *texts = [Runner.run_sync(agent, CAPITAL).final_output for agent in asked]
    return {"whole": whole, "texts": texts, "handed_to": handed_to(models(url, "SmolLM2-135M-Instruct")[1])}


def handed_to(model):
    """Who answers in the end where one agent is made to hand over to another."""
    guide = Agent("guide", model=model, model_settings=ModelSettings(temperature=0, max_tokens=24))
    forced = ModelSettings(tool_choice="transfer_to_guide", max_tokens=60)
    return Runner.run_sync(Agent("desk", model=model, handoffs=[guide], model_settings=forced), CAPITAL).last_agent.name


tell(agent=agent, chat=chat)
