/** Where the secret lies that all credentials are sealed with: a file of its owner's, or the system's keychain. */

import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { Failure } from "../core/failure.ts";

/** The newest first; more than one only while credentials are being sealed anew. */
export interface SecretPlace {
  read(): Promise<readonly string[]>;
  write(secrets: readonly string[]): Promise<void>;
}

const OWNER_ONLY = 0o600;

export function secretFile(path: string): SecretPlace {
  return {
    async read() {
      return existsSync(path) ? lines(readFileSync(path, "utf8")) : [];
    },
    async write(secrets) {
      mkdirSync(dirname(path), { recursive: true });
      // Moved into place whole: half a secret would lose every key.
      writeFileSync(`${path}.new`, `${secrets.join("\n")}\n`, { mode: OWNER_ONLY });
      chmodSync(`${path}.new`, OWNER_ONLY);
      renameSync(`${path}.new`, path);
    },
  };
}

const NAME = { service: "bunsen", name: "credentials" };

export function keychain(): SecretPlace {
  const act = "Cannot use the system's keychain";
  return {
    async read() {
      try {
        return lines((await Bun.secrets.get(NAME)) ?? "");
      } catch (error) {
        throw new Failure("unavailable", `${act}: ${reason(error)}; credentials_secret = "file" does without`);
      }
    },
    async write(secrets) {
      try {
        await Bun.secrets.set({ ...NAME, value: secrets.join("\n") });
      } catch (error) {
        throw new Failure("unavailable", `${act}: ${reason(error)}; credentials_secret = "file" does without`);
      }
    },
  };
}

function lines(text: string): readonly string[] {
  return text.split("\n").filter((line) => line !== "");
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
