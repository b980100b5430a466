/** Real chat templates against Jinja2 with the settings of transformers, for plain conversations. */

import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Message } from "../../src/core/generation.ts";
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

/** Templates that print what Jinja2 prints only in part, each with its reason. */
const DISAGREEING: Readonly<Record<string, string>> = {
  "008_ByteDance-Seed-OSS.jinja": "dictionaries with numbers as keys; refused",
};

function render(template: string, messages: readonly Message[]): Rendered {
  try {
    return { text: new ChatTemplate(template, NAMED).render(messages, NOW) };
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
    expect([...new Set(wrong.map(({ name }) => name))]).toEqual(Object.keys(DISAGREEING));
    expect({ agreed: pairs.length - wrong.length, of: pairs.length }).toEqual({ agreed: 920, of: 930 });
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

  test("a template cannot ask for a range that fills the memory", () => {
    const greedy = new ChatTemplate("{% for i in range(1000000000) %}x{% endfor %}", NAMED);
    expect(failureOf(() => greedy.render([user("x")], NOW)).message).toContain("range of 1000000000 numbers");
  });
});
