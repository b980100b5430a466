/** An engine that says it holds a model with adapters and then falls silent over its first row; of a model at "/slow" the load is long. */

import type { FromEngine, ToEngine } from "../../src/worker/messages.ts";

declare const self: Worker;

const send = (message: FromEngine) => self.postMessage(message);

self.onmessage = ({ data }: MessageEvent<ToEngine>) => {
  if (data.kind === "load") void load(data.model, data.path === "/slow");
  if (data.kind === "generate") for (;;);
  if (data.kind === "stop") send({ kind: "stopped" });
};

async function load(model: string, is_slow: boolean): Promise<void> {
  for (let count = 0; is_slow && count < 15; count++) {
    await Bun.sleep(100);
    send({ kind: "loading", model, bytes_done: count });
  }
  send({ kind: "loaded", loaded: { model, context_length: 512, vocabulary_size: 256, bytes_resident: 0 } });
  send({ kind: "adapters", model, memory: { bytes: 5, idle_bytes: 3 } });
}
