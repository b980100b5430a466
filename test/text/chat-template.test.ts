/** Real chat templates against Jinja2 with the settings of transformers, for plain conversations. */

import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ChatTemplate } from "../../src/text/chat-template.ts";
import { failureOf } from "../formats/scratch.ts";
import { askRender, type Rendered } from "./oracle.ts";

const SHARED = join(import.meta.dir, "../../../shared/data/chat-templates");
const NOW = new Date(2026, 2, 7, 9, 5, 4);
const NOW_LOCAL = "2026-03-07T09:05:04";
const NAMED = new Map([
  ["bos_token", "<s>"],
  ["eos_token", "</s>"],
]);

const system = (content: string): Message => ({ role: "system", content });
interface Message {
  readonly role: string;
  readonly content: string;
}

const user = (content: string): Message => ({ role: "user", content });
const assistant = (content: string): Message => ({ role: "assistant", content });

const CONVERSATIONS: Readonly<Record<string, readonly Message[]>> = {
  question: [user("Hello, who are you?")],
  "system and question": [system("You only tell the truth."), user("What's up?")],
  turns: [user("Hi"), assistant("Hello!"), user("Bye")],
  "system and turns": [
    system("Be brief."),
    user("1+1?"),
    assistant("2"),
    user("Thanks\n\nagain"),
    assistant("."),
    user("!"),
  ],
  "thoughts and white space": [
    system("  Ünïcode 日本 \n"),
    user("\n lead and trail \n\n"),
    assistant('<think>\n  hm\n</think>\n\n  {"a": 1} '),
    user("{{ x }} {% y %} {# z #} 'q' \"d\" \\ <|im_end|>\u00a0"),
  ],
  "odd white space": [
    system("/no_think\n\ttab\t\n"),
    user("\ufeffmark\ufeff"),
    assistant("\n\n   code\n\n"),
    user("\u0085 \u001c x\u001c"),
  ],
  "ends with a thought": [user("Hi"), assistant("<think>\n \n  a\n </think>\n  b ")],
  empty: [user("")],
  "empty system and answer": [system(""), user("x"), assistant(""), user("y")],
  "system in the middle": [user("x"), system("now"), user("y")],
};

/** Renderings of the shared contexts that are not Jinja2's: by reason, the templates by number and the contexts. */
const DISAGREEING: readonly { readonly reason: string; readonly where: RegExp }[] = [
  {
    reason: "prints a list of parts, which Jinja2 refuses or prints in Python's words; our messages hold one text",
    where: /:(parts|image)$/,
  },
  {
    reason: "puts a generator through tojson, which Python cannot; ours prints the list that was meant",
    where: /^(003|044).*:(minja_tool_use|tools_user_only)$/,
  },
  {
    reason: "joins text marked safe with JSON, which Jinja2 then escapes as HTML; the model was not trained on that",
    where: /^(004|046).*:(minja_tool_use|tools_user_only)$/,
  },
];

function render(template: string, messages: readonly Message[]): Rendered {
  try {
    return { text: new ChatTemplate(template, NAMED).render(messages, NOW) };
  } catch (error) {
    return { error: String(error) };
  }
}

interface Context {
  readonly messages: readonly object[];
  readonly [variable: string]: unknown;
}

function renderWith(template: string, messages: readonly object[], options: Record<string, unknown>): Rendered {
  try {
    return { text: new ChatTemplate(template, new Map()).render(messages, NOW, options) };
  } catch (error) {
    return { error: String(error) };
  }
}

/** Where Jinja2 fails we have to fail too. */
function agrees(ours: Rendered, theirs: Rendered): boolean {
  return "text" in theirs ? "text" in ours && ours.text === theirs.text : "error" in ours;
}

function variables(messages: readonly Message[]) {
  return { messages, tools: null, documents: null, add_generation_prompt: true, ...Object.fromEntries(NAMED) };
}

describe.skipIf(!existsSync(SHARED))("real templates", () => {
  test("render plain conversations as Jinja2 does, but for those that are listed", () => {
    const folder = join(SHARED, "templates");
    const names = readdirSync(folder).sort();
    const pairs = names.flatMap((name) => {
      const template = readFileSync(join(folder, name), "utf8");
      return Object.entries(CONVERSATIONS).map(([title, messages]) => ({ name, template, title, messages }));
    });
    const theirs = askRender(
      pairs.map(({ template, messages }) => ({
        act: "render",
        now: NOW_LOCAL,
        template,
        variables: variables(messages),
      })),
    );
    const wrong = pairs.filter(({ template, messages }, index) => {
      return !agrees(render(template, messages), theirs[index] ?? { error: "no answer" });
    });
    expect(names.length).toBe(93);
    expect(theirs.filter((each) => "text" in each).length).toBeGreaterThan(840);
    expect(wrong.map(({ name, title }) => `${name}:${title}`)).toEqual([]);
  }, 60_000);

  test("render the shared contexts as Jinja2 does, but for those that are listed", () => {
    const folder = join(SHARED, "templates");
    const contexts: Record<string, Context> = JSON.parse(readFileSync(join(SHARED, "contexts.json"), "utf8"));
    const pairs = readdirSync(folder)
      .sort()
      .flatMap((name) => {
        const template = readFileSync(join(folder, name), "utf8");
        return Object.entries(contexts).map(([title, context]) => ({ name, template, title, context }));
      });
    const theirs = askRender(
      pairs.map(({ template, context }) => ({ act: "render", now: NOW_LOCAL, template, variables: context })),
    );
    const wrong = pairs.filter(({ template, context }, index) => {
      const { messages, ...others } = context;
      const ours = renderWith(template, messages, { tools: undefined, documents: undefined, ...others });
      return !agrees(ours, theirs[index] ?? { error: "no answer" });
    });
    const titles = wrong.map(({ name, title }) => `${name}:${title}`);
    expect(titles.filter((title) => !DISAGREEING.some(({ where }) => where.test(title)))).toEqual([]);
    expect({ agreed: pairs.length - wrong.length, of: pairs.length }).toEqual({ agreed: 953, of: 1023 });
  }, 60_000);
});

describe("ChatTemplate", () => {
  const rendered = (template: string, messages: readonly Message[] = [user("hi")]) => {
    const ours = new ChatTemplate(template, NAMED).render(messages, NOW);
    const [theirs] = askRender([{ act: "render", now: NOW_LOCAL, template, variables: variables(messages) }]);
    expect(theirs).toEqual({ text: ours });
    return ours;
  };

  test("prints the model's tokens and asks for an answer", () => {
    const template =
      "{{ bos_token }}{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}>{% endif %}";
    expect(rendered(template)).toBe("<s>hi</s>>");
  });

  test("trims blocks and their indentation", () => {
    expect(rendered("a\n  {% if true %}\n  b\n  {% endif %}\nc")).toBe("a\n  b\nc");
  });

  test("prints the time it was given", () => {
    const all = "%Y-%m-%d %H:%M:%S %B %b %A %a %d %j %y %I %p %-d %%";
    expect(rendered(`{{ strftime_now('${all}') }}`)).toBe(
      "2026-03-07 09:05:04 March Mar Saturday Sat 07 066 26 09 AM 7 %",
    );
  });

  test("strips the characters it is told to, and only those", () => {
    const messages = [user("\n\n  x \n")];
    const template =
      "[{{ messages[0].content.strip('\\n') }}][{{ messages[0]['content'].lstrip('\\n ') }}][{{ messages[0].content.rstrip() }}][{{ messages[0].content | trim }}]";
    expect(rendered(template, messages)).toBe("[  x ][x \n][\n\n  x][x]");
  });

  test("takes what is not defined for nothing", () => {
    const template =
      "{% for t in nothing %}{{ t }}{% endfor %}{{ nothing | length }}{{ tools | selectattr('a') | list | length }}{{ nothing | trim }}";
    expect(rendered(template)).toBe("00");
  });

  test("keeps what a round of a loop printed before it was left", () => {
    const template =
      "{% for a in [1, 2, 3, 4] %}{{ a }}{% if a == 3 %}!{% break %}{% elif a == 1 %}{% continue %}{% endif %}," +
      "{% for b in [5, 6] %}({{ b }}{% if b == 5 %}{% continue %}{% endif %}){% if a == 2 %}{% break %}{% endif %}.{% endfor %};{% endfor %}";
    expect(rendered(template)).toBe("12,(5(6);3!");
  });

  test("says that there are no tools as transformers does", () => {
    const template = "{% if tools is defined and tools is none and documents is none %}yes{% endif %}";
    expect(rendered(template)).toBe("yes");
  });

  test("a template that raises refuses the request in its own words", () => {
    const template = new ChatTemplate("{{ raise_exception('Roles must alternate\\nuser/assistant...') }}", NAMED);
    const failure = failureOf(() => template.render([user("x")], NOW));
    expect(failure).toMatchObject({ kind: "invalid_request", parameter: "messages" });
    expect(failure.message).toBe("Cannot use these messages: Roles must alternate user/assistant");
  });

  test("a template that cannot be read or rendered is unsupported", () => {
    expect(failureOf(() => new ChatTemplate("{% nonsense %}", NAMED)).kind).toBe("unsupported");
    expect(failureOf(() => new ChatTemplate("{% for m in messages %}", NAMED)).kind).toBe("unsupported");
    const unknown = new ChatTemplate("{{ messages | unheard_of }}", NAMED);
    expect(failureOf(() => unknown.render([user("x")], NOW)).kind).toBe("unsupported");
  });

  test("takes options that it speaks of, and refuses others by name", () => {
    const template = new ChatTemplate("{% if enable_thinking %}<think>{% endif %}{{ bos_token }}", NAMED);
    template.refuseUnknown({ enable_thinking: true });
    expect(template.render([], NOW, { enable_thinking: true })).toBe("<think><s>");
    expect(failureOf(() => template.refuseUnknown({ think: true }))).toMatchObject({
      parameter: "chat_template_kwargs.think",
      message: 'Cannot use "think": the model\'s chat template has no such option',
    });
    expect(failureOf(() => template.refuseUnknown({ bos_token: "x" })).message).toContain("it is not an option");
    const own = new ChatTemplate("{{ tools.thinking }}", NAMED);
    expect([template.knows("tools"), own.knows("tools"), own.knows("thinking")]).toEqual([false, true, false]);
  });

  test("multiplies text, prints dictionaries and looks up numbers as Python does", () => {
    const template =
      "{{ 'ab' * 2 }}{{ {'a': [1, true, none, \"it's\"]} | string }}{% set t = {2048: 8, 0: 1} %}" +
      "{{ t[2048] }}{% for k, v in t | dictsort %}({{ k }},{{ v }}){% endfor %}{% for a, b in [(1, 2)] %}{{ a + b }}{% endfor %}";
    expect(rendered(template)).toBe("abab{'a': [1, True, None, \"it's\"]}8(0,1)(2048,8)3");
  });

  const grow = (more: string) =>
    `{% set ns = namespace(s=${more}) %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}`;
  test.each([
    ["{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "more than 1000 levels"],
    ["{% if true %}".repeat(2000) + "{% endif %}".repeat(2000), "more than 1000 levels"],
    [`{{ ${"(".repeat(20_000)}1${")".repeat(20_000)} }}`, "Cannot read the model's chat template"],
    ["x".repeat(600_000), "more than 500000 characters"],
    ["{% for i in range(1000000000) %}x{% endfor %}", "range of 1000000000 numbers"],
    ["{{ range(0, 9, 0) }}", "range of Infinity numbers"],
    [grow("'xxxxxxxx'"), "a text of"],
    [grow("'é' ~ 'x'"), "a text of"],
    [grow("[1, 2]"), "a list of"],
    ["{{ 'x' * 1000000000 }}", "a text of 1000000000 characters"],
    ["{% set s = 'a' * 100000 %}{{ s | replace('a', s) }}", "a text of 10000000000 characters"],
    ["{% set s = 'a' * 100000 %}{{ s.replace('', s) }}", "a text of"],
    ["{{ range(100000) | join('x' * 100000) }}", "a separator or an indentation of 100000"],
    ["{{ 'a\nb' | indent(1000000000) }}", "a separator or an indentation of 1000000000"],
    ["{{ ['a\nb'] | map('indent', *[1000000000]) | list }}", "a separator or an indentation of 1000000000"],
    ["{{ messages | tojson(indent=1000000) }}", "a separator or an indentation of 1000000"],
    ["{{ messages | tojson(**{'indent': 1000000}) }}", "a separator or an indentation of 1000000"],
    ["{% set ns = namespace() %}{% set ns.ns = ns %}{{ ns | tojson }}", "Maximum call stack"],
    ["{{ 10 ** 100000000 }}", "not a finite"],
    ["{% include '/etc/passwd' %}", "Unknown statement type"],
  ])("is bounded (%#)", (template, said) => {
    const short = template.slice(0, 200);
    expect({ short, said: renderSafely(template) }).toEqual({ short, said: expect.stringContaining(said) });
  });

  test("rounds in rounds and calls in calls end", () => {
    const loops = "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}";
    const calls = "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}";
    const states = [loops, calls].map((template) => {
      const bounded = new ChatTemplate(template, NAMED, 300_000);
      return failureOf(() => bounded.render([user("x")], NOW)).message;
    });
    const state = "Cannot render the model's chat template: it takes more than 300000 steps";
    expect(states).toEqual([state, state]);
  });

  test("renders a long conversation and a text that grows with it", () => {
    const messages = Array.from({ length: 2000 }, () => user("word ".repeat(200)));
    const template =
      "{% set ns = namespace(all='', list=[]) %}{% for m in messages %}{% set ns.all = ns.all + m.content %}" +
      "{% set ns.list = ns.list + [messages[loop.index0]] %}{% endfor %}{{ ns.all }}{{ ns.list | length }}";
    expect(new ChatTemplate(template, NAMED).render(messages, NOW).length).toBe(2_000_004);
  }, 30_000);

  test("replaces as Python does", () => {
    const template =
      "{{ 'aaa'.replace('a', 'b', 2) }}{{ 'ab' | replace('', '-') }}{{ 'aaa' | replace('a', 'c', 0) }}{{ 'é😀' | replace('', '.') }}";
    expect(rendered(template)).toBe("bba-a-b-aaa.é.😀.");
  });

  test("reaches nothing of the host", () => {
    for (const way of [
      "messages.constructor",
      "messages[0]['constructor']['constructor']('return 1')()",
      "range.constructor('return 1')()",
      "strftime_now['constructor']('return 1')()",
      "messages[0].__proto__.toString()",
      "namespace(__proto__={'polluted': 'yes'}).x ~ {}.polluted",
      "''.__class__.__mro__",
      "process",
      "globalThis",
      "Bun",
      "require('fs')",
    ]) {
      const said = renderSafely(`{{ ${way} }}`);
      expect({ way, said }).toEqual({ way, said: expect.stringMatching(/^$|Cannot render/) });
    }
  });
});

function renderSafely(template: string): string {
  try {
    return new ChatTemplate(template, NAMED).render([user("x")], NOW);
  } catch (error) {
    return String(error);
  }
}
