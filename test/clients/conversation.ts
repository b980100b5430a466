/** What a scripted model says to a client that offers it the tools `weather` and `clock`. */

export const TEMPLATE = `{%- if tools %}{% for t in tools %}{{ t | tojson }}{% endfor %}<tool_call>{% endif -%}
{%- for m in messages %}<{{ m.role }}>{{ m.content }}
{%- for c in m.tool_calls or [] %}#{{ c.function.name }}{{ c.function.arguments | tojson }}{% endfor %}{% endfor -%}
<assistant>`;

export const ANSWER = "It is 12 degrees in Oslo,\nand half past ten.";

/** Its answers, one after the other. */
export const TURNS: readonly string[] = [
  'Let me see.\n<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>',
  '<tool_call>\n{"name": "clock", "arguments": {}}\n</tool_call>',
  ANSWER,
];
