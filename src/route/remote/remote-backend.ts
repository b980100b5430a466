/** Answers by a provider: in its own words where the caller speaks its protocol, else through the neutral form. */

import type { Call, Reply, Trace } from "../../core/exchange.ts";
import { Failure } from "../../core/failure.ts";
import type { GenerationEvent } from "../../core/generation.ts";
import type { ApiType, Provider } from "../../core/routing.ts";
import { begun } from "../begun.ts";
import { anthropicDialect } from "./anthropic.ts";
import type { Connection } from "./connection.ts";
import type { Dialect, EventReader } from "./dialect.ts";
import { openaiDialect } from "./openai.ts";
import { passBody, passStream } from "./passthrough.ts";
import { unspoken } from "./spoken-wishes.ts";
import { withModel } from "./top-level-model.ts";
import type { Upstream } from "./upstream.ts";
import { faltering } from "./upstream-failure.ts";
import { eventData, wholeEvents } from "./whole-events.ts";

export interface RemoteTarget {
  readonly provider: Provider;
  readonly key: string | null;
  /** The model's name there. */
  readonly model: string;
  readonly leaves_machine: boolean;
}

export async function askProvider(
  call: Call,
  target: RemoteTarget,
  upstream: Upstream,
  trace: Trace,
  signal: AbortSignal,
): Promise<Reply> {
  const dialect = DIALECTS[target.provider.api_type];
  const onSend = () => {
    trace.left_machine ||= target.leaves_machine;
  };
  const passes = call.is_whole && call.protocol === target.provider.api_type;
  const path = passes ? dialect.paths[call.endpoint] : undefined;
  if (path !== undefined) return await passThrough(call, { ...target, dialect, path, onSend }, upstream, trace, signal);
  return await throughNeutral(call, { ...target, dialect, onSend }, upstream, signal);
}

export const DIALECTS: Readonly<Record<ApiType, Dialect>> = { openai: openaiDialect, anthropic: anthropicDialect };

interface Spoken extends RemoteTarget {
  readonly dialect: Dialect;
  onSend(): void;
}

async function passThrough(
  call: Call,
  { provider, key, model, dialect, path, onSend }: Spoken & { path: string },
  upstream: Upstream,
  trace: Trace,
  signal: AbortSignal,
): Promise<Reply> {
  const request = {
    method: "POST",
    url: provider.base_url + path,
    headers: { ...headersOf(call.stream), ...dialect.headers(key), ...call.headers },
    body: model === call.model ? call.body : withModel(call.body, model),
    onSend,
  } as const;
  const pass = call.stream ? passStream : passBody;
  return await upstream.ask(model, request, signal, (connection, response) => pass(connection, response, trace));
}

async function throughNeutral(
  call: Call,
  { provider, key, model, dialect, onSend }: Spoken,
  upstream: Upstream,
  signal: AbortSignal,
): Promise<Reply> {
  const neutral = call.neutral();
  if (neutral.kind !== "generation") throw unsupported(call, provider.name);
  const [wanted, another] = neutral.generations;
  if (another !== undefined) throw unspoken("prompt", "it takes one at a time");
  const { path, body } = dialect.write(wanted, model);
  const request = {
    method: "POST",
    url: provider.base_url + path,
    headers: { ...headersOf(true), ...dialect.headers(key) },
    body: JSON.stringify(body),
    onSend,
  } as const;
  const events = await upstream.ask(model, request, signal, async (connection, response) => {
    const events = await begun(readEvents(connection, response, dialect.reader()));
    if (events !== null) return events;
    throw faltering("upstream", `Cannot read ${connection.provider}: its stream has no event`);
  });
  return { kind: "events", events };
}

function unsupported(call: Call, provider: string): Failure {
  return new Failure("unsupported", `Cannot answer ${call.endpoint} by provider "${provider}": its protocol has none`);
}

function headersOf(stream: boolean): Record<string, string> {
  return {
    "content-type": "application/json",
    accept: stream ? "text/event-stream" : "application/json",
    "accept-encoding": "identity", // each event is to be passed on as soon as it is there
    "user-agent": "bunsen",
  };
}

async function* readEvents(
  connection: Connection,
  response: Response,
  reader: EventReader,
): AsyncGenerator<GenerationEvent, void, undefined> {
  try {
    for await (const piece of wholeEvents(connection.chunks(response), connection.provider)) {
      for (const data of eventData(piece)) yield* reader.read(data);
    }
    yield* reader.end();
  } catch (error) {
    throw connection.trouble(error);
  } finally {
    connection.close();
  }
}
