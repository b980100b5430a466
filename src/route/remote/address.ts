/** Keeps a provider of the cloud from being a way into the private network. */

import { lookup } from "node:dns/promises";
import { BlockList, isIP } from "node:net";
import { Failure } from "../../core/failure.ts";
import type { Provider } from "../../core/routing.ts";

export type Resolve = (host: string) => Promise<readonly string[]>;

export async function resolveHost(host: string): Promise<readonly string[]> {
  const found = await lookup(host, { all: true });
  return found.map(({ address }) => address);
}

/** Names are asked again after a while, as they may come to mean another address. */
export class AddressGuard {
  readonly #resolve: Resolve;
  readonly #now: () => number;
  readonly #safe_until_ms = new Map<string, number>();

  constructor(resolve: Resolve, now: () => number) {
    this.#resolve = resolve;
    this.#now = now;
  }

  /** `listed`: hosts the owner allows wherever they are. */
  async check(provider: Provider, listed: readonly string[]): Promise<void> {
    const { hostname } = new URL(provider.base_url);
    if (provider.backend_type !== "cloud" || listed.includes(hostname)) return;
    if ((this.#safe_until_ms.get(hostname) ?? 0) > this.#now()) return;
    const host = hostname.replace(/^\[(.*)\]$/, "$1");
    const addresses = isIP(host) === 0 ? await this.#lookUp(provider.name, host) : [host];
    const address = addresses.find(isPrivate);
    if (address !== undefined) {
      const state = `its host "${hostname}" is ${address}, in a private network, and the setting private_hosts does not list it`;
      throw new Failure("forbidden", `Cannot use provider "${provider.name}": ${state}`);
    }
    this.#safe_until_ms.set(hostname, this.#now() + SAFE_MS);
  }

  async #lookUp(provider: string, host: string): Promise<readonly string[]> {
    try {
      return await this.#resolve(host);
    } catch {
      throw new Failure("upstream", `Cannot reach provider "${provider}": its host "${host}" is not known`);
    }
  }
}

const SAFE_MS = 30_000;

function isPrivate(address: string): boolean {
  return PRIVATE.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
}

/** Loopback, private, link-local (clouds keep their secrets at 169.254.169.254), shared, and reserved ranges. */
const PRIVATE = new BlockList();
for (const [network, bits] of [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["224.0.0.0", 3],
] as const) {
  PRIVATE.addSubnet(network, bits, "ipv4");
  PRIVATE.addSubnet(`::ffff:${network}`, 96 + bits, "ipv6");
}
for (const [network, bits] of [
  ["::", 127],
  ["64:ff9b::", 96],
  ["fc00::", 7],
  ["fe80::", 10],
  ["ff00::", 8],
] as const) {
  PRIVATE.addSubnet(network, bits, "ipv6");
}
