/** The database file: made, brought up to date, and refused when it cannot be used. */

import { Database } from "bun:sqlite";
import { afterAll, describe, expect, test } from "bun:test";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Type } from "@sinclair/typebox";
import { getTableConfig, type SQLiteTable } from "drizzle-orm/sqlite-core";
import { api_keys } from "../../src/store/api-keys.ts";
import { audit, auditEnds } from "../../src/store/audit.ts";
import { openStore } from "../../src/store/database.ts";
import { MIGRATIONS } from "../../src/store/migrations.ts";
import { profiles } from "../../src/store/profiles.ts";
import { providers } from "../../src/store/providers.ts";
import { responses } from "../../src/store/responses.ts";
import { rules } from "../../src/store/rules.ts";
import { StoredSettings, settings } from "../../src/store/settings.ts";
import { failureOf } from "../formats/scratch.ts";

/** Every table, once: a new group adds its own here. */
const TABLES: readonly SQLiteTable[] = [settings, providers, rules, audit, auditEnds, profiles, responses, api_keys];

const SCRATCH = mkdtempSync(join(tmpdir(), "bunsen-store-"));
afterAll(() => rmSync(SCRATCH, { recursive: true }));

const folder = () => mkdtempSync(join(SCRATCH, "home-"));
const file = (home: string) => join(home, "bunsen.db");

function versionOf(home: string): unknown {
  using database = new Database(file(home));
  return database.query("PRAGMA user_version").get();
}

describe("settings", () => {
  const schema = Type.Object({ max_models: Type.Integer({ minimum: 1 }) });

  test("come back after the file was closed, the last write counts, a removed one is gone", () => {
    const home = folder();
    {
      using store = openStore(home);
      const stored = new StoredSettings(store, () => 7);
      expect(stored.read("pool", schema)).toBeNull();
      stored.write("pool", schema, { max_models: 2 });
      stored.write("pool", schema, { max_models: 3 });
      stored.write("other", schema, { max_models: 9 });
    }
    using store = openStore(home);
    const stored = new StoredSettings(store, () => 8);
    expect(stored.read("pool", schema)).toEqual({ max_models: 3 });
    stored.remove("pool");
    expect(stored.read("pool", schema)).toBeNull();
    expect(stored.read("other", schema)).toEqual({ max_models: 9 });
  });

  test("that do not fit their schema are refused by key and field", () => {
    using store = openStore(folder());
    const stored = new StoredSettings(store, () => 0);
    stored.write("pool", Type.Any(), { max_models: 0 });
    const failure = failureOf(() => stored.read("pool", schema));
    expect(failure.message).toContain('Cannot use setting "pool"');
    expect(failure.message).toContain("/max_models");
  });
});

describe("the file", () => {
  test("is readable by its owner only", () => {
    const home = folder();
    using store = openStore(join(home, "deep/er"));
    expect(statSync(store.path).mode & 0o777).toBe(0o600);
  });

  test("gets what is missing, in order, once", () => {
    const home = folder();
    const one = "CREATE TABLE a (x INTEGER); INSERT INTO a VALUES (1);";
    const two = "ALTER TABLE a ADD COLUMN y INTEGER; UPDATE a SET y = x + 1;";
    openStore(home, [one])[Symbol.dispose]();
    openStore(home, [one, two])[Symbol.dispose]();
    openStore(home, [one, two])[Symbol.dispose]();
    using database = new Database(file(home));
    expect(database.query("SELECT * FROM a").all()).toEqual([{ x: 1, y: 2 }]);
    expect(versionOf(home)).toEqual({ user_version: 2 });
  });

  test("is as before when a migration fails half-way", () => {
    const home = folder();
    openStore(home, ["CREATE TABLE a (x INTEGER);"])[Symbol.dispose]();
    const broken = [
      "CREATE TABLE a (x INTEGER);",
      "CREATE TABLE b (x INTEGER);",
      "CREATE TABLE c (x INTEGER); nonsense",
    ];
    expect(failureOf(() => openStore(home, broken)).message).toContain("syntax error");
    using database = new Database(file(home));
    expect(database.query("SELECT name FROM sqlite_master").all()).toEqual([{ name: "a" }]);
    expect(versionOf(home)).toEqual({ user_version: 1 });
  });

  test("of a newer version is refused and left alone", () => {
    const home = folder();
    openStore(home, [...MIGRATIONS, "CREATE TABLE later (x INTEGER);"])[Symbol.dispose]();
    const failure = failureOf(() => openStore(home));
    const known = MIGRATIONS.length;
    const state = `a newer Bunsen wrote it (tables ${known + 1}, this one knows ${known})`;
    expect(failure.message).toBe(`Cannot open ${file(home)}: ${state}; start that one, or move the file away`);
    expect(failure.kind).toBe("unavailable");
    expect(versionOf(home)).toEqual({ user_version: known + 1 });
  });

  test("that is no database is refused in one sentence", () => {
    const home = folder();
    writeFileSync(file(home), "this is not a database, and long enough to be looked at ".repeat(200));
    const failure = failureOf(() => openStore(home));
    const state = "the file is damaged (file is not a database); move it away to begin with a new one";
    expect(failure.message).toBe(`Cannot open ${file(home)}: ${state}`);
  });

  test("with a damaged page is refused in one sentence", () => {
    const home = folder();
    {
      using store = openStore(home);
      const stored = new StoredSettings(store, () => 0);
      for (let index = 0; index < 500; index++) stored.write(`key ${index}`, Type.String(), "x".repeat(100));
    }
    const bytes = readFileSync(file(home)).length;
    const descriptor = openSync(file(home), "r+");
    writeSync(descriptor, new Uint8Array(4096).fill(0xa5), 0, 4096, 4096 * Math.floor(bytes / 8192));
    closeSync(descriptor);
    const { message } = failureOf(() => openStore(home));
    expect(message).toStartWith(`Cannot open ${file(home)}: the file is damaged (`);
    expect(message).toEndWith("; move it away to begin with a new one");
    expect(message).not.toContain("\n");
  });

  test("in a place that cannot be written is refused by its path", () => {
    const home = folder();
    writeFileSync(join(home, "taken"), "");
    expect(failureOf(() => openStore(join(home, "taken/home"))).message).toStartWith(
      `Cannot open ${join(home, "taken/home/bunsen.db")}: `,
    );
  });
});

test("the columns of the typed tables are those of the file", () => {
  const home = folder();
  openStore(home)[Symbol.dispose]();
  using database = new Database(file(home));
  const names = database.query<{ name: string }, []>("SELECT name FROM sqlite_master WHERE type = 'table'").all();
  const own = names.map(({ name }) => name).filter((name) => !name.startsWith("sqlite_"));
  expect(own.sort()).toEqual(TABLES.map((table) => getTableConfig(table).name).sort());
  for (const table of TABLES) {
    const { name, columns } = getTableConfig(table);
    const typed = columns.map(({ name, primary, notNull }) => ({
      name,
      pk: Number(primary),
      notnull: Number(notNull),
    }));
    const made = database
      .query<{ name: string; pk: number; notnull: number }, []>(`PRAGMA table_info(${name})`)
      .all()
      .map(({ name, pk, notnull }) => ({ name, pk: Number(pk > 0), notnull }));
    expect(made).toEqual(typed);
  }
});
