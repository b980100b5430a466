/** A hub's desk that has a token, and notes what it was told. */

import type { HubDesk, HubWords } from "../../src/core/hub.ts";

export class ScriptedHub implements HubDesk {
  readonly asked: HubWords[] = [];

  status() {
    return { hf_endpoint: "https://huggingface.co", token: "stored" } as const;
  }

  async change(words: HubWords) {
    this.asked.push(words);
  }

  async test() {
    return { outcome: "ok", detail: "the token belongs to ada", name: "ada", latency_ms: 1 } as const;
  }
}
