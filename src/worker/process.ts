/** An engine in a process of its own, which may crash without the server. Looks like a worker; knows no message. */

import type { EnginePort, FromEngine, ToEngine } from "./messages.ts";

export class EngineProcess implements EnginePort {
  readonly #events = new EventTarget();
  readonly #child: Bun.Subprocess;

  /** `command` starts a program that speaks with its parent as `worker/main.ts` does. */
  constructor(command: readonly string[]) {
    this.#child = Bun.spawn([...command], {
      stdio: ["ignore", "ignore", "inherit"], // what the runtime says when it crashes is for the log
      serialization: "json", // a prompt of 30000 tokens takes a tenth of the time of "advanced"
      ipc: (data: FromEngine) => void this.#events.dispatchEvent(new MessageEvent("message", { data })),
      onExit: (_, code, signal) => {
        const message =
          signal === null ? `its process ended with code ${code}` : `its process was ended by signal ${signal}`;
        this.#events.dispatchEvent(new ErrorEvent("error", { message }));
      },
    });
  }

  get pid(): number {
    return this.#child.pid;
  }

  addEventListener(type: "message" | "error" | "close", listener: (event: never) => void): void {
    this.#events.addEventListener(type, listener as EventListener);
  }

  postMessage(message: ToEngine): void {
    // Nothing reaches one that has ended; `onExit` tells of it.
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.send(message);
  }

  /** By a signal that cannot wait for a step to end. */
  terminate(): void {
    this.#child.kill("SIGKILL");
  }
}
