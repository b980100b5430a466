/** A hub that gives files over a real socket, as Hugging Face does: lists, redirects to a store, parts of files; and fails as told. */

import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { TOKEN } from "./strict-hub.ts";

export interface HubRepository {
  readonly files: Readonly<Record<string, Uint8Array>>;
  readonly revision?: string;
  readonly is_gated?: boolean;
  /** The hub tells the sums of other bytes. */
  readonly lies?: boolean;
}

/** What goes wrong with one request for bytes. */
export type Trouble =
  /** The connection ends after so many bytes. */
  | { readonly kind: "cut"; readonly after: number }
  /** Nothing comes after so many. */
  | { readonly kind: "silent"; readonly after: number }
  | { readonly kind: "status"; readonly status: number }
  /** The whole file, whatever part was asked for. */
  | { readonly kind: "whole" };

export interface FileHub extends AsyncDisposable {
  readonly url: string;
  /** Path, part and token of each request. */
  readonly asked: readonly string[];
  readonly repositories: Record<string, HubRepository>;
  /** Asked for each request for bytes, by the file's path and the first byte. */
  trouble: (path: string, begin: number) => Trouble | null;
  /** Waited for before bytes are given. */
  ready: Promise<unknown>;
}

const REVISION = "0123abcd";
/** What was written has arrived by then. */
const ARRIVES_MS = 150;
/** Larger files are kept apart, with a sum of their own. */
const SMALL_BYTES_MAX = 20_000;

export async function fileHub(repositories: Record<string, HubRepository>): Promise<FileHub> {
  const asked: string[] = [];
  const server = createServer((request, response) => void answer(hub, asked, request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const hub: FileHub = {
    url: `http://127.0.0.1:${port}`,
    asked,
    repositories,
    trouble: () => null,
    ready: Promise.resolve(),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return hub;
}

async function answer(hub: FileHub, asked: string[], request: IncomingMessage, response: ServerResponse) {
  const { authorization, range } = request.headers;
  asked.push([request.url, range, authorization].filter((part) => part !== undefined).join(" "));
  const url = new URL(request.url ?? "/", hub.url);
  const [, store, name = "", path] =
    /^\/(store|api\/models)?\/?([\w.-]+\/[\w.-]+)(?:\/resolve\/\w+)?(?:\/(.+))?$/.exec(url.pathname) ?? [];
  const repository = hub.repositories[name];
  const has_token = authorization === `Bearer ${TOKEN}`;
  const end = (status: number, headers: Record<string, string> = {}, body = "") =>
    void response.writeHead(status, headers).end(body);
  if (store === "store" && authorization !== undefined) return end(400); // a signed address and a token
  if (repository === undefined) return end(has_token ? 404 : 401);
  if (repository.is_gated === true && !has_token && store !== "store")
    return end(authorization === undefined ? 401 : 403);
  if (path === undefined) return end(200, { "content-type": "application/json" }, listing(name, repository));
  const bytes = repository.files[decodeURIComponent(path)];
  if (bytes === undefined) return end(404);
  const is_large = bytes.length > SMALL_BYTES_MAX;
  if (is_large && store === undefined) {
    return end(302, { location: `http://localhost:${new URL(hub.url).port}/store/${name}/${path}` });
  }
  await give(hub, { path, bytes }, range, response);
}

async function give(
  hub: FileHub,
  { path, bytes }: { path: string; bytes: Uint8Array },
  range: string | undefined,
  response: ServerResponse,
) {
  const wanted = Number(/^bytes=(\d+)-$/.exec(range ?? "bytes=0-")?.[1]);
  await hub.ready;
  const trouble = hub.trouble(path, wanted);
  if (trouble?.kind === "status") return void response.writeHead(trouble.status).end();
  if (wanted >= bytes.length) return void response.writeHead(416).end();
  const begin = trouble?.kind === "whole" ? 0 : wanted;
  const part = bytes.subarray(begin);
  const is_part = range !== undefined && begin === wanted;
  response.writeHead(is_part ? 206 : 200, {
    "content-length": part.length,
    ...(is_part ? { "content-range": `bytes ${begin}-${bytes.length - 1}/${bytes.length}` } : {}),
  });
  if (trouble === null || trouble.kind === "whole") return void response.end(part);
  response.write(part.subarray(0, trouble.after));
  if (trouble.kind === "cut") setTimeout(() => response.socket?.destroy(), ARRIVES_MS);
}

function listing(id: string, { files, revision = REVISION, lies = false }: HubRepository): string {
  const siblings = Object.entries(files).map(([rfilename, bytes]) => {
    const told = lies ? Buffer.concat([bytes, Buffer.from("!")]).subarray(1) : bytes;
    const sha256 = createHash("sha256").update(told).digest("hex");
    const blobId = createHash("sha1").update(`blob ${bytes.length}\0`).update(told).digest("hex");
    const lfs = bytes.length > SMALL_BYTES_MAX ? { lfs: { sha256, size: bytes.length, pointerSize: 134 } } : {};
    return { rfilename, size: bytes.length, blobId, ...lfs };
  });
  return JSON.stringify({ id, sha: revision, siblings });
}
