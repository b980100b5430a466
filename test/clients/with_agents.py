"""OpenAI's Agents, by chats."""

from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled
from asked import CAPITAL, QUESTION, called, clock, tell, weather
from openai import AsyncOpenAI

set_tracing_disabled(True)


def model(url, name):
    return OpenAIChatCompletionsModel(name, AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0))


def agent(url):
    called.clear()
    asked = Agent("agent", model=model(url, "tiny"), tools=[function_tool(weather), function_tool(clock)])
    text = Runner.run_sync(asked, QUESTION).final_output
    return [{"text": text, "called": list(called)}]


def chat(url):
    settings = ModelSettings(temperature=0, max_tokens=24)
    asked = Agent("agent", model=model(url, "SmolLM2-135M-Instruct"), model_settings=settings)
    return {"whole": Runner.run_sync(asked, CAPITAL).final_output}


tell(agent=agent, chat=chat)
