/** Decides which mlx-c library to open. Looks at the places it is given; opens nothing. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { Failure } from "../core/failure.ts";

export interface LibraryPlaces {
  /** A file the owner named; it wins, and it must exist. */
  readonly named: string | null;
  /** The folder unpacked from the executable, or the build folder of a source tree. */
  readonly own_folder: string | null;
  readonly homebrew_folders: readonly string[];
}

/** The path of the first library that is there. */
export function findLibrary(places: LibraryPlaces, platform: NodeJS.Platform): string {
  if (places.named !== null) {
    if (existsSync(places.named)) return places.named;
    throw new Failure(
      "unavailable",
      `Cannot open the MLX library: BUNSEN_MLX_LIBRARY names ${places.named}, which is not there`,
    );
  }
  const file = platform === "darwin" ? "libmlxc.dylib" : "libmlxc.so";
  const folders =
    places.own_folder === null ? places.homebrew_folders : [places.own_folder, ...places.homebrew_folders];
  const found = folders.map((folder) => join(folder, file)).find((path) => existsSync(path));
  if (found !== undefined) return found;
  const remedy = platform === "darwin" ? "install it with: brew install mlx-c" : "build it with: npm run setup";
  throw new Failure(
    "unavailable",
    `Cannot open the MLX library: no ${file} in ${folders.join(", ") || "any known folder"}; ${remedy}`,
  );
}
