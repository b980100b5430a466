"""What every client is asked to do, and how it tells what came of it."""

import json
import sys

CAPITAL = "What is the capital of France?"
QUESTION = "What is the weather in Oslo, and what time is it?"
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ANY = {"type": "object", "properties": {}}
called = []


def weather(city: str) -> str:
    """Tells the weather in a city."""
    called.append(["weather", {"city": city}])
    return f"12 degrees in {city}"


def clock() -> str:
    """Tells the time."""
    called.append(["clock", {}])
    return "half past ten"


TOOLS = {"weather": (weather, CITY), "clock": (clock, ANY)}


def use(name, arguments):
    """Calls a tool as a model asks for it; `arguments` as JSON or as what it says."""
    function, _ = TOOLS[name]
    return function(**(json.loads(arguments) if isinstance(arguments, str) else arguments))


def loop(turn):
    """Takes turns until one brings text; `turn` gives the text, or None when it has answered calls."""
    called.clear()
    text = None
    while text is None:
        text = turn()
    return {"text": text, "called": list(called)}


def tell(**tasks):
    """Does the task that the command line names, at the server it names."""
    print(json.dumps(tasks[sys.argv[1]](sys.argv[2])))
