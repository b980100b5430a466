/** One streamed answer over the OpenAI chat protocol, and when its parts came. Knows nothing of what is behind the URL. */

export interface Question {
  readonly url: string;
  readonly model: string;
  /** What makes this prompt new from its first token on, so that no cache of prompts answers for the model. */
  readonly salt: string;
  readonly prompt: string;
  readonly tokens_max: number;
  /** Fields of this server's own; a strict one refuses those it does not know. */
  readonly extra: Readonly<Record<string, unknown>>;
}

/** Times count from the moment it was asked for. Tokens are those the server reports. */
export interface Answer {
  readonly first_token_ms: number;
  readonly last_token_ms: number;
  /** The longest time between two tokens. */
  readonly gap_ms_max: number;
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
}

export async function ask({ url, model, salt, prompt, tokens_max, extra }: Question): Promise<Answer> {
  const asked_ms = performance.now();
  const reply = await fetch(`${url}/chat/completions`, {
    method: "POST",
    keepalive: false, // a server may close a connection that rested just as it is taken again
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      model,
      messages: [
        { role: "system", content: salt },
        { role: "user", content: prompt },
      ],
      max_tokens: tokens_max,
      temperature: 0,
      stream: true,
      stream_options: { include_usage: true },
      ...extra,
    }),
  });
  if (!reply.ok || reply.body === null) throw new Error(`${url} answered ${reply.status}: ${await reply.text()}`);
  return await readStream(reply.body, asked_ms);
}

interface Chunk {
  readonly choices?: readonly { readonly delta?: { readonly content?: string | null } }[];
  readonly usage?: { readonly prompt_tokens: number; readonly completion_tokens: number } | null;
}

async function readStream(body: ReadableStream<Uint8Array>, asked_ms: number): Promise<Answer> {
  let first_token_ms: number | null = null;
  let last_token_ms = 0;
  let gap_ms_max = 0;
  let usage: Chunk["usage"] = null;
  for await (const chunk of chunksOf(body)) {
    usage = chunk.usage ?? usage;
    if ((chunk.choices?.[0]?.delta?.content ?? "") === "") continue;
    const came_ms = performance.now() - asked_ms;
    if (first_token_ms !== null) gap_ms_max = Math.max(gap_ms_max, came_ms - last_token_ms);
    last_token_ms = came_ms;
    first_token_ms ??= came_ms;
  }
  if (usage === null) throw new Error("the server reported no usage at the end of the stream");
  const { prompt_tokens, completion_tokens } = usage;
  // A token without text of its own (half a character) still ends the prefill.
  return {
    first_token_ms: first_token_ms ?? performance.now() - asked_ms,
    last_token_ms,
    gap_ms_max,
    prompt_tokens,
    completion_tokens,
  };
}

async function* chunksOf(body: ReadableStream<Uint8Array>): AsyncGenerator<Chunk> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const bytes of body) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      const data = /^data: ?(.*?)\r?$/.exec(line)?.[1];
      if (data !== undefined && data !== "[DONE]") yield JSON.parse(data) as Chunk;
    }
  }
}
