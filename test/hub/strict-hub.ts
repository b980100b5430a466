/** A hub with two repositories: it answers only what is asked as its interface says, and notes each token. */

export const TOKEN = "hf_aVerySecretToken";

export interface StrictHub extends Disposable {
  readonly url: string;
  /** Method, path and token of each request. */
  readonly asked: readonly string[];
}

const CONFIG = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  hidden_size: 64,
  intermediate_size: 128,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  num_hidden_layers: 3,
  vocab_size: 1000,
  max_position_embeddings: 2048,
};

const REPOSITORIES: Readonly<Record<string, { readonly gated: boolean; readonly config: object | null }>> = {
  "org/open": { gated: false, config: CONFIG },
  "org/gated": { gated: true, config: { ...CONFIG, model_type: "mamba9" } },
  "org/packed": { gated: false, config: null },
};

const FILES = [
  { rfilename: "README.md", size: 10 },
  { rfilename: "config.json", size: 400 },
  { rfilename: "tokenizer.json", size: 600 },
  { rfilename: "model-00001-of-00002.safetensors", size: 1_000_000 },
  { rfilename: "model-00002-of-00002.safetensors", size: 500_000 },
  { rfilename: "consolidated.safetensors", size: 1_500_000 },
];

export function strictHub(): StrictHub {
  const asked: string[] = [];
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch(request): Response {
      const { pathname, search } = new URL(request.url);
      const authorization = request.headers.get("authorization");
      asked.push(`${request.method} ${pathname}${search} ${authorization ?? "none"}`);
      if (request.method !== "GET") return new Response("", { status: 405 });
      if (authorization !== null && authorization !== `Bearer ${TOKEN}`) return refused(401);
      if (pathname === "/api/whoami-v2") {
        return authorization === null ? refused(401) : Response.json({ type: "user", name: "ada" });
      }
      if (pathname === "/api/models/org/renamed") return moved(`/api/models/org/open${search}`);
      if (pathname === "/api/models/org/elsewhere") return moved(`http://localhost:${server.port}/api/whoami-v2`);
      return repository(pathname, search, authorization !== null);
    },
  });
  return { url: `http://127.0.0.1:${server.port}`, asked, [Symbol.dispose]: () => void server.stop(true) };
}

function repository(path: string, search: string, has_token: boolean): Response {
  const [, name = ""] = /^(?:\/api\/models)?\/([^/]+\/[^/]+)/.exec(path) ?? [];
  const found = REPOSITORIES[name];
  if (found === undefined) return refused(has_token ? 404 : 401);
  if (path === `/api/models/${name}` && search === "?blobs=true") {
    const files = found.config === null ? [{ rfilename: "model-Q4_K_M.gguf", size: 900 }] : FILES;
    return Response.json({ id: name, sha: "0123abcd", gated: found.gated, siblings: files });
  }
  if (path !== `/${name}/resolve/0123abcd/config.json`) return refused(404);
  return found.gated && !has_token ? refused(401) : Response.json(found.config);
}

function refused(status: number): Response {
  return Response.json({ error: "Invalid username or password." }, { status });
}

function moved(location: string): Response {
  return new Response(null, { status: 307, headers: { location } });
}
