/** How models mark their thoughts, and how a prompt begins or ends one. A chat template's own text tells which. */

import type { ThoughtForm } from "../../core/grammar.ts";
import type { AnswerFormat, Marks } from "./formats.ts";

/** The thoughts that `template` speaks of; `<think>` always: models use it that learned it from others. */
export function thoughtMarksOf(template: string): readonly Marks[] {
  return THOUGHTS.filter(({ open, close }) => {
    return open === "<think>" || template.includes(open.slice(1)) || template.includes(close);
  });
}

/** Whether a model with this template may think where it is not told to. */
export function mentionsThoughts(template: string): boolean {
  return template.includes("<|channel|>") || THOUGHTS.some((marks) => speaksOf(template, marks));
}

function speaksOf(template: string, { open, close }: Marks): boolean {
  // <|end|> ends turns elsewhere.
  return [open, close].some((mark) => mark !== "<|end|>" && template.includes(mark));
}

/** The thought that `prompt` has begun for the answer. */
export function openThought(prompt: string, marks: readonly Marks[]): Marks | null {
  const end = prompt.trimEnd();
  return marks.find(({ open }) => end.endsWith(open)) ?? null;
}

/** The thought that an answer may begin with: `prompt` has begun it, or has not ended it. */
export function thoughtForm(
  { name }: AnswerFormat,
  template: string,
  prompt: string,
  open_thought: Marks | null,
): ThoughtForm | null {
  const message = THOUGHT_MESSAGES.get(name);
  if (message !== undefined) return { ...message, is_open: prompt.endsWith(message.open) };
  if (open_thought !== null) return { ...open_thought, is_open: true, behind: "" };
  const marks = THOUGHTS.find((marks) => speaksOf(template, marks));
  if (marks === undefined || prompt.trimEnd().endsWith(marks.close)) return null;
  return { ...marks, is_open: false, behind: name === "solar" ? "<|begin|>assistant" : "" };
}

/** What ends a thought that its model does not end, and leads to what comes behind it. */
export function thoughtEnd({ close, behind }: ThoughtForm): string {
  return behind === "" ? `\n${close}\n\n` : close + behind;
}

const THOUGHTS: readonly Marks[] = [
  { open: "<think>", close: "</think>" },
  { open: "<thinking>", close: "</thinking>" },
  { open: "<seed:think>", close: "</seed:think>" },
  { open: "[THINK]", close: "[/THINK]" },
  { open: "<|START_THINKING|>", close: "<|END_THINKING|>" },
  { open: "<|inner_prefix|>", close: "<|inner_suffix|>" },
  { open: "<|channel>thought", close: "<channel|>" },
  { open: "<|think|>", close: "<|end|>" },
  { open: "Here are my reasoning steps:", close: "[BEGIN FINAL RESPONSE]" },
];

/** Thoughts that are a message of their own, by the format's name. */
const THOUGHT_MESSAGES: ReadonlyMap<string, Omit<ThoughtForm, "is_open">> = new Map([
  ["harmony", { open: "<|channel|>analysis<|message|>", close: "<|end|>", behind: "<|start|>assistant" }],
  ["glimmer", { open: " to=self<|message|>", close: "<|eom|>", behind: "<|start|>assistant" }],
]);
