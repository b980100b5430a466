/** What the owner does with the hub that models are published on: its address, its token, and whether both are good. */

import { existsSync, readFileSync } from "node:fs";
import { Failure } from "./core/failure.ts";
import type { HubDesk, HubStatus, HubTest, HubWords, PullStep, TokenState } from "./core/hub.ts";
import type { Settings } from "./core/settings.ts";
import { type HubAccess, type HubModel, modelOnHub, whoami } from "./hub/client.ts";
import { type PullPlace, Pulls, readHubName } from "./hub/pulls.ts";
import type { StoredHubToken } from "./store/hub-token.ts";

/** What the environment says of the token. */
export interface GivenToken {
  readonly token: string | null;
  /** Where Hugging Face's own tools keep it. */
  readonly file: string;
}

interface Found {
  readonly state: TokenState;
  readonly token: string | null;
}

export class Huggingface implements HubDesk {
  readonly #settings: Settings;
  readonly #stored: StoredHubToken;
  readonly #given: GivenToken;
  readonly #change: (settings: Partial<Settings>) => Promise<unknown>;
  readonly #pulls: Pulls;
  #is_lost = false;

  /** `settings` is read when it is needed; `change` stores some of them. */
  constructor(
    settings: Settings,
    stored: StoredHubToken,
    given: GivenToken,
    change: (settings: Partial<Settings>) => Promise<unknown>,
    place: PullPlace,
  ) {
    this.#settings = settings;
    this.#stored = stored;
    this.#given = given;
    this.#change = change;
    this.#pulls = new Pulls(place);
  }

  status(): HubStatus {
    const is_stored = this.#stored.sealed().length > 0;
    const state = is_stored ? (this.#is_lost ? "lost" : "stored") : this.#outside().state;
    return { hf_endpoint: this.#settings.hf_endpoint, token: state };
  }

  async change({ hf_endpoint, token }: HubWords): Promise<void> {
    if (hf_endpoint !== undefined) await this.#change({ hf_endpoint });
    if (token === undefined) return;
    await this.#stored.write(token);
    this.#is_lost = false;
  }

  async test(signal: AbortSignal): Promise<HubTest> {
    const { state, token } = await this.#token();
    if (state === "lost") return { outcome: "token_lost", detail: "enter the token again", name: null, latency_ms: 0 };
    return await whoami(this.#access(token), signal);
  }

  /** What a repository holds, before anything of it is here. */
  async model(name: string, signal: AbortSignal): Promise<HubModel> {
    return await modelOnHub(await this.#mustAccess(), name, signal);
  }

  async *pull(name: string, signal: AbortSignal): AsyncGenerator<PullStep, void, undefined> {
    const wanted = readHubName(name);
    yield* this.#pulls.follow(await this.#mustAccess(), wanted, signal);
  }

  async #mustAccess(): Promise<HubAccess> {
    const { state, token } = await this.#token();
    if (state !== "lost") return this.#access(token);
    const why = "the secret that its token was sealed with is lost; enter the token again";
    throw new Failure("unavailable", `Cannot ask the hub: ${why}`);
  }

  #access(token: string | null): HubAccess {
    const { hf_endpoint, enable_cloud_routing } = this.#settings;
    if (enable_cloud_routing === "off" && !LOOPBACK.test(new URL(hf_endpoint).hostname)) {
      const state = 'nothing leaves this machine, since enable_cloud_routing is "off"';
      throw new Failure("forbidden", `Cannot ask the hub at ${hf_endpoint}: ${state}`);
    }
    return { endpoint: hf_endpoint, token };
  }

  async #token(): Promise<Found> {
    const stored = await this.#stored.read();
    if (stored === null) return this.#outside();
    this.#is_lost = stored.opened === null;
    return this.#is_lost ? { state: "lost", token: null } : { state: "stored", token: stored.opened };
  }

  #outside(): Found {
    const { token, file } = this.#given;
    if (token !== null) return { state: "environment", token };
    const kept = existsSync(file) ? readFileSync(file, "utf8").trim() : "";
    return kept === "" ? { state: "none", token: null } : { state: "file", token: kept };
  }
}

const LOOPBACK = /^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;
