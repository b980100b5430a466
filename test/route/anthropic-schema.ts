/**
 * What a request of Anthropic's Messages may say, as the types of its official client say it; written apart from what
 * this server takes.
 */

import { Ajv2020 } from "ajv/dist/2020.js";

const text = { type: "string" };
const nullable = (schema: object) => ({ anyOf: [schema, { type: "null" }] });
const exactly = (value: string) => ({ const: value });
const oneOf = (...values: string[]) => ({ enum: values });
const closed = (properties: Record<string, object>, ...required: string[]) => ({
  type: "object",
  properties,
  required,
  additionalProperties: false,
});

const cached = nullable(closed({ type: exactly("ephemeral"), ttl: oneOf("5m", "1h") }, "type"));
/** A block of a content, or one of several forms of the same thing. */
const form = (type: string, properties: Record<string, object> = {}, ...required: string[]) =>
  closed({ type: exactly(type), cache_control: cached, ...properties }, "type", ...required);

const image = form(
  "image",
  {
    source: {
      anyOf: [
        closed(
          {
            type: exactly("base64"),
            media_type: oneOf("image/jpeg", "image/png", "image/gif", "image/webp"),
            data: { type: "string", pattern: "^[A-Za-z0-9+/]+=*$" },
          },
          "type",
          "media_type",
          "data",
        ),
        closed({ type: exactly("url"), url: text }, "type", "url"),
      ],
    },
  },
  "source",
);
const words = form("text", { text: { type: "string", minLength: 1 } }, "text");
const result = {
  tool_use_id: text,
  is_error: { type: "boolean" },
  content: { anyOf: [text, { type: "array", items: { anyOf: [words, image] } }] },
};
const block = {
  anyOf: [
    words,
    image,
    form("tool_use", { id: text, name: text, input: { type: "object" } }, "id", "name", "input"),
    form("tool_result", result, "tool_use_id"),
    closed({ type: exactly("thinking"), thinking: text, signature: text }, "type", "thinking", "signature"),
    closed({ type: exactly("redacted_thinking"), data: text }, "type", "data"),
  ],
};
const turn = closed(
  { role: oneOf("user", "assistant"), content: { anyOf: [text, { type: "array", items: block }] } },
  "role",
  "content",
);
const tool = closed(
  {
    name: { type: "string", pattern: "^[a-zA-Z0-9_-]{1,128}$" },
    description: text,
    input_schema: { type: "object", properties: { type: exactly("object") }, required: ["type"] },
    cache_control: cached,
    strict: { type: "boolean" },
    type: nullable(exactly("custom")),
  },
  "name",
  "input_schema",
);
const alone = { disable_parallel_tool_use: { type: "boolean" } };
const choice = {
  anyOf: [
    closed({ type: oneOf("auto", "any"), ...alone }, "type"),
    closed({ type: exactly("tool"), name: text, ...alone }, "type", "name"),
    closed({ type: exactly("none") }, "type"),
  ],
};
const thinking = {
  anyOf: [
    closed({ type: exactly("enabled"), budget_tokens: { type: "integer", minimum: 1024 } }, "type", "budget_tokens"),
    closed({ type: oneOf("adaptive", "disabled") }, "type"),
  ],
};
const shown = {
  effort: nullable(oneOf("low", "medium", "high", "xhigh", "max")),
  format: nullable({ type: "object" }),
};

const request = closed(
  {
    model: text,
    max_tokens: { type: "integer", minimum: 1 },
    messages: { type: "array", items: turn, minItems: 1 },
    system: { anyOf: [text, { type: "array", items: words }] },
    // Of the older models.
    temperature: { type: "number", minimum: 0, maximum: 1 },
    top_p: { type: "number", minimum: 0, maximum: 1 },
    top_k: { type: "integer", minimum: 0 },
    stop_sequences: { type: "array", items: text },
    stream: { type: "boolean" },
    tools: { type: "array", items: tool },
    tool_choice: choice,
    thinking,
    output_config: closed(shown),
    metadata: closed({ user_id: nullable(text) }),
    service_tier: oneOf("auto", "standard_only"),
    cache_control: cached,
  },
  "model",
  "max_tokens",
  "messages",
);

const ajv = new Ajv2020({ strict: false });
const validate = ajv.compile(request);

/** null: nothing is wrong. */
export function faultOf(body: unknown): string | null {
  return validate(body) ? null : ajv.errorsText(validate.errors);
}
