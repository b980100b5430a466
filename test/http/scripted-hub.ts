/** A hub's desk that has a token, and notes what it was told. */

import { Failure } from "../../src/core/failure.ts";
import type { HubDesk, HubWords, PullStep } from "../../src/core/hub.ts";

export class ScriptedHub implements HubDesk {
  readonly asked: HubWords[] = [];

  status() {
    return { hf_endpoint: "https://huggingface.co", token: "stored" } as const;
  }

  async change(words: HubWords) {
    this.asked.push(words);
  }

  async *pull(name: string): AsyncGenerator<PullStep, void, undefined> {
    if (name !== "org/new") throw new Failure("not_found", `Cannot pull model "${name}": it is not there`, "model");
    const file = { kind: "file", digest: `sha256:${"ab".repeat(32)}`, bytes_total: 300 } as const;
    yield { kind: "listing" };
    yield { ...file, bytes_here: 100 };
    yield { ...file, bytes_here: 300 };
    yield { kind: "verifying" };
    yield { kind: "placing" };
    yield { kind: "done", model: name };
  }

  async test() {
    return { outcome: "ok", detail: "the token belongs to ada", name: "ada", latency_ms: 1 } as const;
  }
}
