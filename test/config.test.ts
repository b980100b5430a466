/** What the environment decides. */

import { expect, test } from "bun:test";
import { readConfig } from "../src/config.ts";
import { failureOf } from "./formats/scratch.ts";

const ofSystem = () => "/ada";

test("without variables everything lies under the home folder", () => {
  expect(readConfig({ HOME: "/eve" }, ofSystem)).toEqual({
    data_folder: "/eve/.bunsen",
    mlx_library: null,
    hub_folder: "/eve/.cache/huggingface/hub",
    engine: {},
  });
});

test("an empty variable counts as absent, HOME too", () => {
  const empty = {
    HOME: "",
    BUNSEN_HOME: "",
    BUNSEN_MLX_LIBRARY: "",
    XDG_CACHE_HOME: "",
    HF_HOME: "",
    HF_HUB_CACHE: "",
  };
  expect(readConfig(empty, ofSystem)).toEqual(readConfig({}, ofSystem));
  expect(readConfig(empty, ofSystem).data_folder).toBe("/ada/.bunsen");
});

test("each variable has its effect, the more particular one first", () => {
  const all = { HOME: "/h", BUNSEN_HOME: "/b", BUNSEN_MLX_LIBRARY: "/m.so", XDG_CACHE_HOME: "/c", HF_HOME: "/f" };
  expect(readConfig(all)).toEqual({ data_folder: "/b", mlx_library: "/m.so", hub_folder: "/f/hub", engine: {} });
  expect(readConfig({ ...all, HF_HUB_CACHE: "/u" }).hub_folder).toBe("/u");
  expect(readConfig({ ...all, HF_HOME: "" }).hub_folder).toBe("/c/huggingface/hub");
});

test("each setting of the engine is a variable", () => {
  const said = {
    BUNSEN_ROWS_MAX: "2",
    BUNSEN_DECODE_GAP_MS_TARGET: "50",
    BUNSEN_CHUNK_TOKENS_MAX: "64",
    BUNSEN_DRAFT_TOKENS_MAX: "8",
    BUNSEN_KV_BYTES_MAX: "1GiB",
    BUNSEN_KV_DISK_BYTES_MAX: "0",
  };
  expect(readConfig({ HOME: "/h", ...said }).engine).toEqual({
    rows_max: 2,
    decode_gap_ms_target: 50,
    chunk_tokens_max: 64,
    draft_tokens_max: 8,
    kv_bytes_max: 2 ** 30,
    kv_disk_bytes_max: 0,
  });
});

test("a variable that says nothing of use is refused by its name", () => {
  const failure = failureOf(() => readConfig({ HOME: "/h", BUNSEN_ROWS_MAX: "many" }));
  expect(failure.message).toBe("Cannot use BUNSEN_ROWS_MAX=many: it must be a whole number from 1 to 64");
});

test("a user without a home folder is told to set HOME", () => {
  const failure = failureOf(() =>
    readConfig({ HOME: "" }, () => {
      throw new Error("ENOENT: no such file or directory, uv_os_homedir");
    }),
  );
  expect(failure.message).toBe("Cannot find the home folder: HOME is not set, and the system knows none");
});
