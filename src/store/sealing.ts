/** Seals short texts with a secret, so that the database alone tells nothing of them. Knows no provider. */

import { createCipheriv, createDecipheriv, createHash, pbkdf2, randomBytes } from "node:crypto";
import { promisify } from "node:util";
import type { SecretPlace } from "./secret.ts";

// OWASP's advice for this function is 600,000; twice that costs half a second, once a start.
const ITERATIONS = 1_200_000;
const KEY_BYTES = 32;
const SALT_BYTES = 16;
const IV_BYTES = 12;
const TAG_BYTES = 16;

/** null: sealed with a secret that is no more, or not by us. */
export type Opened = string | null;

export class Sealing {
  readonly #place: SecretPlace;
  readonly #iterations: number;
  /** By secret and salt: deriving one takes half a second, in a thread of the runtime's. */
  readonly #keys = new Map<string, Promise<Buffer>>();
  readonly #salt = randomBytes(SALT_BYTES);
  #secrets: readonly string[] = [];
  #making: Promise<string> | null = null;

  constructor(place: SecretPlace, iterations = ITERATIONS) {
    this.#place = place;
    this.#iterations = iterations;
  }

  /** `about` must be the same to open it again. A secret is made where there is none. */
  async seal(text: string, about: string): Promise<string> {
    const secret = await this.#newest();
    const iv = randomBytes(IV_BYTES);
    const cipher = createCipheriv("aes-256-gcm", await this.#key(secret, this.#salt), iv);
    cipher.setAAD(Buffer.from(about));
    const sealed = Buffer.concat([cipher.update(text, "utf8"), cipher.final(), cipher.getAuthTag()]);
    return ["v1", fingerprint(secret), this.#salt.toString("hex"), iv.toString("hex"), sealed.toString("hex")].join(
      ":",
    );
  }

  async open(sealed: string, about: string): Promise<Opened> {
    const [version, print, salt = "", iv = "", body = ""] = sealed.split(":");
    if (!this.#secrets.some((secret) => fingerprint(secret) === print)) this.#secrets = await this.#place.read();
    const secret = this.#secrets.find((secret) => fingerprint(secret) === print);
    if (version !== "v1" || secret === undefined) return null;
    const bytes = Buffer.from(body, "hex");
    const key = await this.#key(secret, Buffer.from(salt, "hex"));
    try {
      const decipher = createDecipheriv("aes-256-gcm", key, Buffer.from(iv, "hex"));
      decipher.setAAD(Buffer.from(about));
      decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
      return decipher.update(bytes.subarray(0, -TAG_BYTES)).toString() + decipher.final().toString();
    } catch {
      return null;
    }
  }

  /** Until `done`, both secrets open what they have sealed. */
  async rotate(): Promise<{ done(): Promise<void> }> {
    const [old] = await this.#place.read();
    const fresh = newSecret();
    await this.#write(old === undefined ? [fresh] : [fresh, old]);
    return { done: async () => await this.#write([fresh]) };
  }

  async #newest(): Promise<string> {
    // Read anew: another command may have sealed all keys with a new one.
    const [known] = await this.#place.read();
    if (known !== undefined) return known;
    // Two keys that are entered at once are sealed with one secret.
    this.#making ??= this.#make();
    return await this.#making;
  }

  async #make(): Promise<string> {
    try {
      const secret = newSecret();
      await this.#write([secret]);
      return secret;
    } finally {
      this.#making = null;
    }
  }

  async #write(secrets: readonly string[]): Promise<void> {
    await this.#place.write(secrets);
    this.#secrets = secrets;
  }

  #key(secret: string, salt: Buffer): Promise<Buffer> {
    const name = `${secret}:${salt.toString("hex")}`;
    const known = this.#keys.get(name) ?? derive(secret, salt, this.#iterations, KEY_BYTES, "sha256");
    this.#keys.set(name, known);
    return known;
  }
}

const derive = promisify(pbkdf2);

function newSecret(): string {
  return randomBytes(KEY_BYTES).toString("hex");
}

/** Tells secrets apart and tells nothing of them. */
function fingerprint(secret: string): string {
  return createHash("sha256").update(`bunsen:${secret}`).digest("hex").slice(0, 16);
}
