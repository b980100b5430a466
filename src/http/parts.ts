/** What the server is made of; the caller builds it. */

import type { ApiKeyStore } from "../core/api-keys.ts";
import type { AuditLog } from "../core/audit.ts";
import type { ModelList } from "../core/backend.ts";
import type { Gateway } from "../core/exchange.ts";
import type { HubDesk } from "../core/hub.ts";
import type { OwnerDesk } from "../core/owner.ts";
import type { PrefixCache } from "../core/prefix.ts";
import type { ProfileDesk } from "../core/profile.ts";
import type { ResponseStore } from "../core/responses.ts";
import type { Outlook, RoutingDesk } from "../core/routing.ts";
import type { TokenDesk } from "../core/tokens.ts";
import type { Gate } from "./gate.ts";
import type { RequestIds } from "./request-id.ts";
import type { GrantedFeeds } from "./sockets.ts";

export interface ServerParts {
  readonly gateway: Gateway;
  readonly desk: RoutingDesk;
  readonly audit: AuditLog;
  readonly models: ModelList;
  /** Throws a `Failure` where the model's files cannot be read. */
  readonly outlook: (model: string) => Promise<Outlook>;
  readonly prefix_cache: PrefixCache;
  readonly tokens: TokenDesk;
  readonly owner: OwnerDesk;
  readonly profiles: ProfileDesk;
  readonly hub: HubDesk;
  readonly keys: ApiKeyStore;
  /** Whether a caller without a key is refused; the owner may change it. */
  readonly isKeyRequired: () => boolean;
  readonly responses: ResponseStore;
  readonly version: string;
  readonly requestId: () => string;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** A stream that is not read for so long is cut, and its generation ends. */
  readonly unread_ms_max: number;
  /** A stream that has brought nothing for so long brings a word that somebody is there; the owner may change it. */
  readonly silence_ms: () => number;
  /** Told of every error that is a bug of ours; the caller only learns the request's id. */
  readonly reportBug: (error: unknown, request_id: string) => void;
}

/** What a route needs beside. */
export interface RouteParts extends ServerParts {
  readonly ids: RequestIds;
  readonly gate: Gate;
  readonly feeds: GrantedFeeds;
}
