/** Providers that are known by name, and where each is found unless its owner says otherwise. */

import type { Provider } from "./routing.ts";

const CLOUDS: readonly (readonly [string, string])[] = [
  ["openai", "https://api.openai.com/v1"],
  ["together", "https://api.together.xyz/v1"],
  ["groq", "https://api.groq.com/openai/v1"],
  ["fireworks", "https://api.fireworks.ai/inference/v1"],
  ["mistral", "https://api.mistral.ai/v1"],
  ["deepseek", "https://api.deepseek.com/v1"],
  ["openrouter", "https://openrouter.ai/api/v1"],
  ["xai", "https://api.x.ai/v1"],
  ["cerebras", "https://api.cerebras.ai/v1"],
  ["perplexity", "https://api.perplexity.ai"],
];

/** The order is that in which `auto` looks. */
export const LOCAL_SERVERS: readonly Provider[] = [
  local("lmstudio", "http://127.0.0.1:1234/v1"),
  local("ollama", "http://127.0.0.1:11434/v1"),
  local("llamacpp", "http://127.0.0.1:8080/v1"),
  local("mlxlm", "http://127.0.0.1:8080/v1"),
  local("mlxlm", "http://127.0.0.1:8081/v1"),
];

export const KNOWN_PROVIDERS: readonly Provider[] = [
  ...CLOUDS.map(([name, base_url]) => ({ name, api_type: "openai", backend_type: "cloud", base_url }) as const),
  { name: "anthropic", api_type: "anthropic", backend_type: "cloud", base_url: "https://api.anthropic.com/v1" },
  // A server of the owner's own, often on another machine of the house.
  { name: "vllm", api_type: "openai", backend_type: "cloud", base_url: "http://127.0.0.1:8000/v1" },
  ...LOCAL_SERVERS.slice(0, 4),
];

function local(name: "lmstudio" | "ollama" | "llamacpp" | "mlxlm", base_url: string): Provider {
  return { name, api_type: "openai", backend_type: name, base_url };
}
