/** The two that each client is tried with: a server whose model says what is scripted, and a real one. */

import { type Listening, listen } from "../../src/http/listen.ts";
import { type ScriptedModel, scriptedModel } from "../http/scripted-model.ts";
import { minilm } from "../models/encoder-files.ts";
import { MODEL, Served } from "../served.ts";
import { TEMPLATE } from "./conversation.ts";

export class TwoServers implements AsyncDisposable {
  readonly scripted: ScriptedModel;
  readonly real: Served;
  readonly #listening: Listening;

  private constructor(scripted: ScriptedModel, real: Served) {
    this.scripted = scripted;
    this.real = real;
    this.#listening = listen(scripted.server.app, { host: "127.0.0.1", port: 0 });
  }

  static async start(folder: string): Promise<TwoServers> {
    return new TwoServers(scriptedModel(folder, TEMPLATE), await Served.start(["--model", MODEL, "--model", minilm()]));
  }

  get scripted_url(): string {
    return this.#listening.url;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#listening.stop();
    await this.scripted[Symbol.asyncDispose]();
    await this.real.stop();
  }
}
