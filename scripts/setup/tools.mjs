/** Which systems and tools set-up needs, and the command that installs each tool. */

import { existsSync } from "node:fs";
import { outputOf, SetupError } from "./process.mjs";

/** The places the server looks in. */
export const HOMEBREW_LIBRARIES = ["/opt/homebrew/lib/libmlxc.dylib", "/usr/local/lib/libmlxc.dylib"];
const GLIBC_MIN = "2.35";

/** `probe` prints something when the tool is there and new enough. */
const TOOLS = {
  npm: {
    title: "npm",
    probe: () => outputOf("npm", ["--version"]),
    packages: { "apt-get": ["npm"], dnf: ["npm"], brew: ["node"] },
  },
  python: {
    title: "Python 3.9 or later (python3)",
    probe: () =>
      outputOf("python3", ["-c", "import sys, zipfile; print(1) if sys.version_info >= (3, 9) else sys.exit(1)"]),
    packages: { "apt-get": ["python3"], dnf: ["python3"], brew: ["python3"] },
  },
  pip: {
    title: "pip for python3",
    probe: () => outputOf("python3", ["-m", "pip", "--version"]),
    packages: { "apt-get": ["python3-pip"], dnf: ["python3-pip"], brew: ["python3"] },
  },
  oraclePython: {
    title: "Python 3.11 or later (python3; mlx-lm, which the tests compare with, needs it)",
    probe: () => outputOf("python3", ["-c", "import sys; print(1) if sys.version_info >= (3, 11) else sys.exit(1)"]),
    packages: { "apt-get": ["python3"], dnf: ["python3"], brew: ["python3"] },
  },
  mlxC: {
    title: "mlx-c, MLX's C library",
    probe: async () => HOMEBREW_LIBRARIES.some((path) => existsSync(path)) || process.env.BUNSEN_MLX_LIBRARY,
    packages: { "apt-get": [], dnf: [], brew: ["mlx-c"] },
  },
  compiler: {
    title: `a C++20 compiler (${process.env.CXX ?? "g++"})`,
    probe: () => outputOf(process.env.CXX ?? "g++", ["--version"]),
    packages: { "apt-get": ["g++"], dnf: ["gcc-c++"], brew: ["llvm"] },
  },
};

const MANAGERS = [
  ["apt-get", "sudo apt-get install -y"],
  ["dnf", "sudo dnf install -y"],
  ["brew", "brew install"],
];

export function refuseSystem() {
  const system = `${process.platform} ${process.arch}`;
  if (system === "darwin arm64") return;
  if (system !== "linux x64") {
    throw new SetupError(
      `Cannot set up: Bunsen runs on Linux x86-64 and on Macs with Apple silicon, this is ${system}`,
    );
  }
  process.report.excludeNetwork = true; // else it looks up every interface's name
  const glibc = process.report.getReport().header.glibcVersionRuntime;
  if (glibc === undefined) throw new SetupError("Cannot set up: MLX needs glibc, this Linux has another C library");
  if (glibc.localeCompare(GLIBC_MIN, "en", { numeric: true }) < 0) {
    throw new SetupError(
      `Cannot set up: MLX needs glibc ${GLIBC_MIN} or later (Ubuntu 22.04, Debian 12, Fedora 36), this is ${glibc}`,
    );
  }
}

/** Names everything that is missing at once, with one command that installs it. */
export async function requireTools(names) {
  const tools = [...new Set(names)].map((name) => TOOLS[name]);
  const found = await Promise.all(tools.map((tool) => tool.probe()));
  const missing = tools.filter((_, index) => !found[index]);
  if (missing.length === 0) return;
  const list = missing.map((tool) => tool.title).join(" and ");
  throw new SetupError(
    `Cannot set up: ${list} ${missing.length === 1 ? "is" : "are"} missing; ${await remedy(missing)}`,
  );
}

async function remedy(missing) {
  for (const [manager, command] of MANAGERS) {
    if ((await outputOf(manager, ["--version"])) === null) continue;
    const packages = new Set(missing.flatMap((tool) => tool.packages[manager]));
    return `install with: ${command} ${[...packages].join(" ")}`;
  }
  return process.platform === "darwin" ? "install Homebrew first" : "install with your system's package manager";
}
