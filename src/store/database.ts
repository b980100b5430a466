/** Opens the one database file and brings its tables up to date. Knows no table by name. */

import { Database, SQLiteError } from "bun:sqlite";
import { chmodSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { type BunSQLiteDatabase, drizzle } from "drizzle-orm/bun-sqlite";
import { Failure } from "../core/failure.ts";
import { MIGRATIONS } from "./migrations.ts";

export interface Store extends Disposable {
  readonly path: string;
  readonly tables: BunSQLiteDatabase;
}

// Two commands of one user may write at once; none holds the file longer than some milliseconds.
const BUSY_MS_MAX = 5000;
const FILE_NAME = "bunsen.db";
const OWNER_ONLY = 0o600;

/** `migrations`: in order, each applied once; those of this version unless given. */
export function openStore(data_folder: string, migrations: readonly string[] = MIGRATIONS): Store {
  const path = join(data_folder, FILE_NAME);
  let file: Database | null = null;
  try {
    mkdirSync(data_folder, { recursive: true });
    file = new Database(path, { create: true, strict: true });
    // What SQLite writes beside it gets the same rights.
    chmodSync(path, OWNER_ONLY);
    prepare(file, path, migrations);
  } catch (error) {
    file?.close();
    throw error instanceof Failure ? error : new Failure("unavailable", `Cannot open ${path}: ${reason(error)}`);
  }
  const opened = file;
  return { path, tables: drizzle(opened), [Symbol.dispose]: () => opened.close() };
}

function prepare(file: Database, path: string, migrations: readonly string[]): void {
  file.run(`PRAGMA busy_timeout = ${BUSY_MS_MAX}`);
  file.run("PRAGMA journal_mode = WAL");
  // With a WAL a lost power supply may cost the last writes, and never the file.
  file.run("PRAGMA synchronous = NORMAL");
  file.run("PRAGMA foreign_keys = ON");
  const checked = file.query<{ quick_check: string }, []>("PRAGMA quick_check(1)").get();
  if (checked?.quick_check !== "ok") throw damaged(path, checked?.quick_check ?? "nothing can be read");
  migrate(file, path, migrations);
}

/** All that are missing, or none: another process that starts at the same time waits for them. */
function migrate(file: Database, path: string, migrations: readonly string[]): void {
  const apply = file.transaction(() => {
    const version = file.query<{ user_version: number }, []>("PRAGMA user_version").get()?.user_version ?? 0;
    if (version > migrations.length) {
      const state = `a newer Bunsen wrote it (tables ${version}, this one knows ${migrations.length})`;
      throw new Failure("unavailable", `Cannot open ${path}: ${state}; start that one, or move the file away`);
    }
    if (version === migrations.length) return;
    for (const sql of migrations.slice(version)) file.run(sql);
    file.run(`PRAGMA user_version = ${migrations.length}`);
  });
  apply.immediate();
}

function damaged(path: string, found: string): Failure {
  const state = `the file is damaged (${found.split("\n")[0]})`;
  return new Failure("unavailable", `Cannot open ${path}: ${state}; move it away to begin with a new one`);
}

function reason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (!(error instanceof SQLiteError)) return error.message;
  switch (error.code) {
    case "SQLITE_NOTADB":
    case "SQLITE_CORRUPT":
      return `the file is damaged (${error.message}); move it away to begin with a new one`;
    case "SQLITE_BUSY":
      return `another process has held it for ${BUSY_MS_MAX} ms`;
    case "SQLITE_CANTOPEN":
    case "SQLITE_READONLY":
      return `it cannot be written (${error.message}); BUNSEN_HOME names another folder`;
    default:
      return error.message;
  }
}
