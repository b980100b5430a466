/**
 * Asks the hub who a token belongs to, and what a repository holds. Knows neither where the token lies nor what the
 * files mean.
 */

import { readUpTo } from "../core/bounded.ts";
import { Failure } from "../core/failure.ts";
import type { HubTest } from "../core/hub.ts";
import { asObject } from "../formats/json.ts";

export interface HubAccess {
  /** As in https://huggingface.co. */
  readonly endpoint: string;
  readonly token: string | null;
}

/** Of a file's bytes: large files have their own sum, others git's, over a header with their length. */
export interface Digest {
  readonly kind: "sha256" | "git";
  readonly hex: string;
}

export interface HubFile {
  readonly path: string;
  /** null: the hub does not say. */
  readonly bytes: number | null;
  /** null: the hub does not say. */
  readonly digest: Digest | null;
}

export interface HubModel {
  readonly name: string;
  /** The commit that its files are of. */
  readonly revision: string;
  readonly files: readonly HubFile[];
  /** Of `config.json`; null: it has none. */
  readonly config: Readonly<Record<string, unknown>> | null;
}

// Far from everything on a slow line an answer takes seconds; these are some kilobytes.
const ANSWER_MS_MAX = 30_000;
// The longest lists of files have some thousands of names.
const ANSWER_BYTES_MAX = 16 * 2 ** 20;
// A repository that was renamed is one redirect away.
const REDIRECTS_MAX = 3;

export async function whoami(access: HubAccess, signal: AbortSignal): Promise<HubTest> {
  const began_ms = performance.now();
  const told = (outcome: HubTest["outcome"], detail: string, name: string | null = null): HubTest => {
    return { outcome, detail, name, latency_ms: performance.now() - began_ms };
  };
  if (access.token === null) return told("no_token", "there is no token to ask with");
  try {
    const response = await get(access, "/api/whoami-v2", signal);
    if (response.status === 401) return told("unauthorised", "the hub does not know the token");
    if (!response.ok) return told("refused", `the hub answered with ${response.status}`);
    const name = asObject(await readJson(response))?.["name"];
    if (typeof name === "string") return told("ok", `the token belongs to ${name}`, name);
    return told("refused", "the hub does not say whose the token is");
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return told("unreachable", error.message);
  }
}

/** Its files and config; of its weights nothing is fetched. Throws a `Failure` where it cannot be read. */
export async function modelOnHub(access: HubAccess, asked: string, signal: AbortSignal): Promise<HubModel> {
  const answer = must(asked, access, await get(access, `/api/models/${asked}?blobs=true`, signal));
  const info = asObject(await readJson(answer));
  const found = info?.["id"];
  const name = typeof found === "string" && isRepository(found) ? found : asked; // it may have another name by now
  const revision = info?.["sha"];
  const listed = info?.["siblings"];
  if (typeof revision !== "string" || !/^\w[\w.-]*$/.test(revision) || !Array.isArray(listed)) {
    throw new Failure("upstream", `Cannot read "${name}" on the hub: its answer has no "sha" or no "siblings"`);
  }
  const files = listed.flatMap((each: unknown): HubFile[] => {
    const { rfilename: path, size, blobId, lfs } = asObject(each) ?? {};
    if (typeof path !== "string") return [];
    const bytes = Number.isSafeInteger(size) && Number(size) >= 0 ? Number(size) : null;
    return [{ path, bytes, digest: digestOf(asObject(lfs)?.["sha256"], blobId) }];
  });
  if (!files.some(({ path }) => path === "config.json")) return { name, revision, files, config: null };
  const config = must(name, access, await get(access, placeOf({ name, revision }, "config.json"), signal));
  return { name, revision, files, config: asObject(await readJson(config)) };
}

/** The place of a file in a repository, as the hub gives it. */
export function placeOf(model: Pick<HubModel, "name" | "revision">, path: string): string {
  return `/${model.name}/resolve/${model.revision}/${path.split("/").map(encodeURIComponent).join("/")}`;
}

function digestOf(sha256: unknown, git: unknown): Digest | null {
  if (typeof sha256 === "string" && /^[0-9a-f]{64}$/.test(sha256)) return { kind: "sha256", hex: sha256 };
  return typeof git === "string" && /^[0-9a-f]{40}$/.test(git) ? { kind: "git", hex: git } : null;
}

/** An organisation and a name; two hyphens are what the cache has between them. */
export function isRepository(name: string): boolean {
  return /^[\w-][\w.-]*\/[\w-][\w.-]*$/.test(name) && !name.includes("--");
}

export function must(name: string, { token }: HubAccess, response: Response): Response {
  if (response.ok) return response;
  const act = `Cannot read "${name}" on the hub`;
  // Without a token the hub tells of what is private, and of what is not there, in the same way.
  const advice = token === null ? "; there is no token to ask with" : "; the token may not read it";
  switch (response.status) {
    case 401:
    case 403:
      throw new Failure("forbidden", `${act}: it is private or gated, or is not there${advice}`);
    case 404:
      throw new Failure("not_found", `${act}: it is not there`);
    default:
      throw new Failure("upstream", `${act}: the hub answered with ${response.status}`);
  }
}

async function get(access: HubAccess, path: string, signal: AbortSignal): Promise<Response> {
  return await askHub(access, path, {}, AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS_MAX)]));
}

/** Its answer, whatever its status. Throws a `Failure` where there is none. */
export async function askHub(
  { endpoint, token }: HubAccess,
  path: string,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<Response> {
  const origin = new URL(endpoint).origin;
  let url = new URL(endpoint.replace(/\/+$/, "") + path);
  for (let count = 0; count <= REDIRECTS_MAX; count++) {
    // Whoever is redirected to is not given the token.
    const own = token !== null && url.origin === origin ? { authorization: `Bearer ${token}` } : {};
    const response = await reach(url, { ...headers, "user-agent": "bunsen", ...own }, signal);
    const location = response.headers.get("location");
    if (response.status < 300 || response.status >= 400 || location === null) return response;
    await response.body?.cancel();
    url = redirected(location, url, origin);
  }
  throw new Failure("upstream", `Cannot ask the hub at ${origin}: it redirects more than ${REDIRECTS_MAX} times`);
}

/** `fetch` reads files of this machine too, and what else it has a protocol for. */
function redirected(location: string, from: URL, origin: string): URL {
  const act = `Cannot ask the hub at ${origin}: it redirects to`;
  if (!URL.canParse(location, from.href)) throw new Failure("upstream", `${act} "${location}", expected an address`);
  const url = new URL(location, from);
  if (/^https?:$/.test(url.protocol)) return url;
  throw new Failure("upstream", `${act} "${url.protocol}", expected "http:" or "https:"`);
}

async function reach(url: URL, headers: Record<string, string>, signal: AbortSignal): Promise<Response> {
  try {
    return await fetch(url, { headers, signal, redirect: "manual" });
  } catch (error) {
    if (signal.aborted && !isTimeout(signal.reason)) throw signal.reason;
    const state = error instanceof Error ? error.message : String(error);
    throw new Failure("upstream", `Cannot reach the hub at ${url.origin}: ${state.split("\n")[0]}`);
  }
}

function isTimeout(reason: unknown): boolean {
  return reason instanceof DOMException && reason.name === "TimeoutError";
}

async function readJson(response: Response): Promise<unknown> {
  const host = new URL(response.url).origin;
  const bytes = response.body === null ? Buffer.alloc(0) : await readUpTo(response.body, ANSWER_BYTES_MAX);
  if (bytes === null) {
    throw new Failure("upstream", `Cannot read the hub at ${host}: its answer exceeds ${ANSWER_BYTES_MAX} bytes`);
  }
  try {
    return JSON.parse(bytes.toString());
  } catch {
    throw new Failure("upstream", `Cannot read the hub at ${host}: its answer is not JSON`);
  }
}
