"""Pydantic AI's agents: tools, and an answer in a form of its own."""

from asked import CAPITAL, QUESTION, called, clock, tell, weather
from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider


def models(url, name):
    return [
        OpenAIChatModel(name, provider=OpenAIProvider(base_url=f"{url}/v1", api_key="none")),
        AnthropicModel(name, provider=AnthropicProvider(base_url=url, api_key="none")),
    ]


def agent(url):
    answers = []
    for model in models(url, "tiny"):
        called.clear()
        text = Agent(model, tools=[weather, clock]).run_sync(QUESTION).output
        answers.append({"text": text, "called": list(called)})
    return answers


class Capital(BaseModel):
    city: str


def chat(url):
    settings = {"temperature": 0, "max_tokens": 48}
    model, *_ = models(url, "SmolLM2-135M-Instruct")
    formed = Agent(model, output_type=NativeOutput(Capital), model_settings=settings).run_sync(CAPITAL).output
    settings["max_tokens"] = 24
    return {"whole": Agent(model, model_settings=settings).run_sync(CAPITAL).output, "formed": formed.city}


tell(agent=agent, chat=chat)
