/** Sends a stream at the pace of its reader, and notices when there is none any more. */

import { isBug } from "../wire/problem.ts";
import type { Exchange } from "./exchange.ts";
import { EVENT_STREAM } from "./generation.ts";
import type { ServerParts } from "./parts.ts";

const HEADERS = {
  "cache-control": "no-cache",
  "x-accel-buffering": "no", // a proxy of nginx's kind would hold pieces back
};

export interface Stream {
  readonly pieces: AsyncIterator<string | Uint8Array, void, undefined>;
  /** What is sent in place of the rest when that fails. */
  readonly lastWords: (error: unknown) => string;
  readonly headers: Readonly<Record<string, string>>;
}

/**
 * A piece is written when the one before has been read. Whoever makes them does not wait for that: they do, at most a
 * context of them, until the client reads again or has not for `unread_ms_max`.
 */
export function streamed({ pieces, lastWords, headers }: Stream, exchange: Exchange, parts: ServerParts): Response {
  const { unread_ms_max, reportBug } = parts;
  const encoder = new TextEncoder();
  let unread: ReturnType<typeof setTimeout> | undefined;
  const leave = () => {
    clearTimeout(unread);
    exchange.leave();
  };
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        clearTimeout(unread);
        try {
          const { done, value } = await pieces.next();
          if (done === true) {
            controller.close();
            return exchange.succeed();
          }
          controller.enqueue(typeof value === "string" ? encoder.encode(value) : value);
        } catch (error) {
          if (exchange.left) return controller.close();
          if (isBug(error)) reportBug(error, exchange.request_id);
          controller.enqueue(encoder.encode(lastWords(error)));
          controller.close();
          return exchange.fail(error);
        }
        unread = setTimeout(() => {
          leave();
          controller.error(new Error(`The client has read nothing for ${unread_ms_max} ms`));
        }, unread_ms_max);
      },
      cancel: leave,
    },
    { highWaterMark: 0 },
  );
  return new Response(body, { headers: { ...HEADERS, ...headers, "x-bunsen-route": exchange.route } });
}

/** Of what goes on whoever reads it: a stream that is left ends alone. */
export function followed(texts: AsyncIterable<string>): Response {
  return new Response(pulled(texts), { headers: { ...HEADERS, "content-type": EVENT_STREAM } });
}

/** The next is made when the one before has been read. */
export function pulled(texts: AsyncIterable<string>): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  const iterator = texts[Symbol.asyncIterator]();
  return new ReadableStream(
    {
      async pull(controller) {
        const { done, value } = await iterator.next();
        if (done === true) return controller.close();
        controller.enqueue(encoder.encode(value));
      },
      async cancel() {
        await iterator.return?.();
      },
    },
    { highWaterMark: 0 },
  );
}
