/** What the environment decides. */

import { describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Type } from "@sinclair/typebox";
import { type Flags, readConfig } from "../src/config.ts";
import { resolveSettings } from "../src/core/setting-layers.ts";
import { SETTING_NAMES, SETTINGS, type SettingName, type Settings } from "../src/core/settings.ts";
import { openStore } from "../src/store/database.ts";
import { StoredSettings } from "../src/store/settings.ts";
import { failureOf, scratchFolder } from "./formats/scratch.ts";
import { ROOT } from "./root.ts";
import { runToEnd } from "./served.ts";

const ofSystem = () => "/ada";

const SCRATCH = scratchFolder();
const NO_FLAGS: Flags = { config_file: null, settings: {} };
const read = (environment: Record<string, string>, flags = NO_FLAGS) => readConfig(flags, environment, ofSystem);

/** What holds, and who said so. */
function settle(environment: Record<string, string>, flags = NO_FLAGS, stored: Partial<Settings> = {}) {
  const layers = [...read(environment, flags).layers(), { values: stored, origin: () => "stored" }];
  return resolveSettings(layers, 16 * 2 ** 30);
}

test("without variables everything lies under the home folder", () => {
  const { data_folder, mlx_library, hub_folder } = read({ HOME: "/eve" });
  expect({ data_folder, mlx_library, hub_folder }).toEqual({
    data_folder: "/eve/.bunsen",
    mlx_library: null,
    hub_folder: "/eve/.cache/huggingface/hub",
  });
});

test("an empty variable counts as absent, HOME too", () => {
  const empty = {
    HOME: "",
    BUNSEN_HOME: "",
    BUNSEN_MLX_LIBRARY: "",
    HF_HOME: "",
    HF_HUB_CACHE: "",
    BUNSEN_ROWS_MAX: "",
  };
  expect(read(empty).data_folder).toBe("/ada/.bunsen");
  expect(read(empty).mlx_library).toBeNull();
  expect(settle(empty).origins.rows_max).toBe("default");
});

test("each place has its variable, the more particular one first", () => {
  const all = { HOME: "/h", BUNSEN_HOME: "/b", BUNSEN_MLX_LIBRARY: "/m.so", XDG_CACHE_HOME: "/c", HF_HOME: "/f" };
  expect(read(all)).toMatchObject({ data_folder: "/b", mlx_library: "/m.so", hub_folder: "/f/hub" });
  expect(read({ ...all, HF_HUB_CACHE: "/u" }).hub_folder).toBe("/u");
  expect(read({ ...all, HF_HOME: "" }).hub_folder).toBe("/c/huggingface/hub");
});

/** A value as it is written, and as it is read. */
function example(name: SettingName): [string, unknown] {
  const { form } = SETTINGS[name];
  switch (form.kind) {
    case "choice":
      return [form.of.at(-1) ?? "", form.of.at(-1)];
    case "number_of":
      return [String(form.of.at(-1)), form.of.at(-1)];
    case "bytes":
      return ["1GiB", 2 ** 30];
    case "text":
      return ["abc", "abc"];
    case "url":
      return ["http://127.0.0.1:1/hub", "http://127.0.0.1:1/hub"];
    case "texts":
      return ["a, b", ["a", "b"]];
    default:
      return [String(form.least), form.least];
  }
}

test.each(SETTING_NAMES)("%s is a variable", (name) => {
  const [text, value] = example(name);
  const variable = `BUNSEN_${name.toUpperCase()}`;
  const { values, origins } = settle({ HOME: "/h", [variable]: text });
  expect<unknown>(values[name]).toEqual(value);
  expect(origins[name]).toBe(variable);
});

test("what was stored goes before an option, that before a variable, that before the file, that before the default", () => {
  const home = mkdtempSync(join(SCRATCH, "home-"));
  const file = join(home, "bunsen.toml");
  writeFileSync(
    file,
    'rows_max = 2\nqueue_max = 3\nttl_s = 4\nmax_models = 5\nkv_bytes_max = "2GiB"\npreload_models = ["a"]\n',
  );
  const environment = {
    BUNSEN_HOME: home,
    HOME: home,
    BUNSEN_QUEUE_MAX: "13",
    BUNSEN_TTL_S: "14",
    BUNSEN_MAX_MODELS: "15",
  };
  const flags = { ...NO_FLAGS, settings: { ttl_s: 24, max_models: 25 } };
  const { values, origins } = settle(environment, flags, { max_models: 35 });
  expect(values).toMatchObject({ rows_max: 2, queue_max: 13, ttl_s: 24, max_models: 35, kv_bytes_max: 2 ** 31 });
  expect(values.preload_models).toEqual(["a"]);
  expect(values.eviction_policy).toBe("lru");
  expect(origins).toMatchObject({
    eviction_policy: "default",
    rows_max: file,
    queue_max: "BUNSEN_QUEUE_MAX",
    ttl_s: "--ttl-s",
    max_models: "stored",
  });
});

test("a file may be named, and may be JSON", () => {
  const file = join(SCRATCH, "other.json");
  writeFileSync(file, '{"contention": "fail"}');
  expect(settle({ HOME: "/h" }, { ...NO_FLAGS, config_file: file }).values.contention).toBe("fail");
});

describe("what says nothing of use is refused by its name:", () => {
  const file = join(SCRATCH, "wrong.toml");
  const refusal = (text: string) => {
    writeFileSync(file, text);
    return failureOf(() => settle({ HOME: "/h" }, { ...NO_FLAGS, config_file: file })).message;
  };

  test("a variable's value", () => {
    const failure = failureOf(() => settle({ HOME: "/h", BUNSEN_ROWS_MAX: "many" }));
    expect(failure.message).toBe("Cannot use BUNSEN_ROWS_MAX=many: it must be a whole number from 1 to 64");
  });

  test("a variable, with the one that was meant", () => {
    const failure = failureOf(() => settle({ HOME: "/h", BUNSEN_ROW_MAX: "2" }));
    const meant = "perhaps BUNSEN_ROWS_MAX was meant";
    expect(failure.message).toBe(`Cannot use BUNSEN_ROW_MAX in the environment: there is no such setting, ${meant}`);
  });

  test("a key of the file, with the one that was meant", () => {
    const meant = "there is no such setting, perhaps max_models was meant";
    expect(refusal("max_model = 3")).toBe(`Cannot use max_model in ${file}: ${meant}`);
    expect(refusal("colour = 3")).toBe(`Cannot use colour in ${file}: there is no such setting`);
  });

  test("a value of the file", () => {
    expect(refusal("max_models = 0")).toBe(
      `Cannot use max_models = 0 in ${file}: it must be a whole number from 1 to 1000`,
    );
    expect(refusal('eviction_policy = "mru"')).toEndWith("it must be lru or lfu or ttl");
  });

  test("a file that cannot be read", () => {
    expect(refusal("max_models = ")).toStartWith(`Cannot read the settings in ${file}: `);
    const missing = { ...NO_FLAGS, config_file: join(SCRATCH, "missing.toml") };
    expect(failureOf(() => settle({ HOME: "/h" }, missing)).message).toStartWith("Cannot read the settings in ");
  });
});

test(".env.example is what the program prints", async () => {
  const shown = await runToEnd(["config", "--example"]);
  // Write it anew with: bun src/main.ts config --example > .env.example
  expect(shown.output).toBe(readFileSync(join(ROOT, ".env.example"), "utf8"));
});

test("bunsen config prints each value and where it came from", async () => {
  const home = mkdtempSync(join(SCRATCH, "home-"));
  using store = openStore(join(home, ".bunsen"));
  new StoredSettings(store, Date.now).write("ttl_s", Type.Unknown(), 5);
  const variables = { BUNSEN_MAX_MODELS: "4" };
  const { output } = await runToEnd(["config", "--rows-max", "3"], { home, variables });
  const lines = output.split("\n").map((line) => line.replace(/ +/g, " "));
  expect(lines).toContain("rows_max 3 --rows-max");
  expect(lines).toContain("max_models 4 BUNSEN_MAX_MODELS");
  expect(lines).toContain("ttl_s 5 stored");
  expect(lines).toContain("port 10240 default");
});

test("a user without a home folder is told to set HOME", () => {
  const failure = failureOf(() =>
    readConfig(NO_FLAGS, { HOME: "" }, () => {
      throw new Error("ENOENT: no such file or directory, uv_os_homedir");
    }),
  );
  expect(failure.message).toBe("Cannot find the home folder: HOME is not set, and the system knows none");
});

describe("providers in the environment", () => {
  const read = (environment: Record<string, string>) => readConfig(undefined, { HOME: "/nowhere", ...environment });

  test("are those with a key or an address, known ones by their name, and one may be the default", () => {
    const { providers, layers } = read({
      OPENAI__API_KEY: "sk-a",
      MLXLM__BASE_URL: "http://127.0.0.1:9000/v1/",
      GROQ__API_KEY: "",
      LLM__PROVIDER: "mlxlm",
    });
    expect(providers).toMatchObject([
      { provider: { name: "openai", base_url: "https://api.openai.com/v1" }, key: "sk-a" },
      { provider: { name: "mlxlm", base_url: "http://127.0.0.1:9000/v1", backend_type: "mlxlm" }, key: null },
    ]);
    expect(layers().map(({ values }) => values.default_provider)).toContain("mlxlm");
  });

  test("are refused where a field would have no effect", () => {
    expect(failureOf(() => read({ MLXLM__SEED: "1" })).message).toContain("Cannot use MLXLM__SEED");
    const warm = failureOf(() => read({ MLXLM__TEMPERATURE: "warm" }));
    expect(warm.message).toBe("Cannot use MLXLM__TEMPERATURE=warm: expected a number from 0 to 2");
  });

  test("say what each is asked for where a request does not", () => {
    const said = { MODEL_NAME: "m", MAX_TOKENS: "64", TEMPERATURE: "0", TIMEOUT: "2.5" };
    const { providers } = read(
      Object.fromEntries(Object.entries(said).map(([name, text]) => [`MLXLM__${name}`, text])),
    );
    expect(providers).toMatchObject([{ defaults: { model: "m", max_tokens: 64, temperature: 0, timeout_s: 2.5 } }]);
    expect(read({ LLM__PROVIDER: "ollama" }).providers).toMatchObject([{ provider: { name: "ollama" }, key: null }]);
  });
});
