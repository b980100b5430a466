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

test("a user without a home folder is told to set HOME", () => {
  const failure = failureOf(() =>
    readConfig({ HOME: "" }, () => {
      throw new Error("ENOENT: no such file or directory, uv_os_homedir");
    }),
  );
  expect(failure.message).toBe("Cannot find the home folder: HOME is not set, and the system knows none");
});
