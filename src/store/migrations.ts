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
];
