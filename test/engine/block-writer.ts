/** A process that keeps blocks in a folder until it is killed: `block-writer.ts FOLDER BYTES_MAX`. */

import { BlockFiles } from "../../src/engine/block-files.ts";
import { DiskTier } from "../../src/engine/disk-tier.ts";
import { contentOf, WRITER_BLOCK_BYTES, writtenBytes } from "./written-blocks.ts";

const [folder = "", bytes_max = "0"] = process.argv.slice(2);
let number = 0;
const memory = {
  save: (_: number, bytes: Uint8Array) => bytes.set(writtenBytes(number)),
  load: () => {},
};
const tier = new DiskTier(new BlockFiles(folder, Number(bytes_max), Date.now), "writer", memory, WRITER_BLOCK_BYTES);
for (; ; number = (number + 1) % 500) {
  tier.evicted(0, contentOf(number));
  if (number % 20 === 0) await Bun.sleep(1);
}
