/**
 * How the tables came to be, one text of SQL for each change: a new one goes to the end, what was released is never edited.
 * A table's columns are said a second time, with their types, in the file of its group; a test holds both together.
 */

export const MIGRATIONS: readonly string[] = [
  `CREATE TABLE settings (
    key TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL,
    changed_ms INTEGER NOT NULL
  ) STRICT;`,
  `CREATE TABLE providers (
    name TEXT PRIMARY KEY NOT NULL,
    api_type TEXT NOT NULL,
    backend_type TEXT NOT NULL,
    base_url TEXT NOT NULL,
    sealed_key TEXT,
    changed_ms INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE rules (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    words TEXT NOT NULL,
    changed_ms INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE audit (
    sequence INTEGER PRIMARY KEY NOT NULL,
    time_ms INTEGER NOT NULL,
    request_id TEXT NOT NULL,
    key TEXT,
    endpoint TEXT NOT NULL,
    dialect TEXT NOT NULL,
    model_asked TEXT,
    model_served TEXT,
    backend TEXT,
    route_reason TEXT,
    duration_ms REAL NOT NULL,
    first_token_ms REAL,
    status TEXT NOT NULL,
    prompt_tokens INTEGER,
    completion_tokens INTEGER,
    cached_tokens INTEGER,
    error_type TEXT,
    left_machine INTEGER NOT NULL,
    cost REAL,
    bytes INTEGER NOT NULL,
    hash TEXT NOT NULL
  ) STRICT;
  CREATE INDEX audit_time ON audit (time_ms);
  CREATE TABLE audit_ends (
    id INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
    anchor_sequence INTEGER NOT NULL,
    anchor_hash TEXT NOT NULL,
    head_sequence INTEGER NOT NULL,
    head_hash TEXT NOT NULL,
    open INTEGER NOT NULL
  ) STRICT;
  INSERT INTO audit_ends VALUES (1, 0, '', 0, '', 0);`,
  `CREATE TABLE profiles (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    words TEXT NOT NULL,
    changed_ms INTEGER NOT NULL
  ) STRICT;`,
  "ALTER TABLE audit ADD COLUMN currency TEXT;",
  `CREATE TABLE responses (
    id TEXT PRIMARY KEY NOT NULL,
    previous_id TEXT,
    input TEXT NOT NULL,
    body TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    used_ms INTEGER NOT NULL
  ) STRICT;`,
  "ALTER TABLE audit ADD COLUMN steadied_lines INTEGER NOT NULL DEFAULT 0;",
  `CREATE TABLE api_keys (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    name TEXT NOT NULL UNIQUE,
    admin INTEGER NOT NULL,
    privacy TEXT,
    hash TEXT NOT NULL UNIQUE,
    created_ms INTEGER NOT NULL
  ) STRICT;`,
  "ALTER TABLE responses ADD COLUMN events TEXT;",
  "ALTER TABLE responses ADD COLUMN key_id INTEGER;",
];
