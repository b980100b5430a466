/** The executable's door: picks the command, and turns trouble into one sentence and an exit code. */

import { audit } from "./cli/audit.ts";
import { config } from "./cli/config.ts";
import { credentials } from "./cli/credentials.ts";
import { fitModel } from "./cli/fit.ts";
import { keys } from "./cli/keys.ts";
import { models } from "./cli/models.ts";
import { help, parseOptions, UsageError } from "./cli/options.ts";
import { pullModel } from "./cli/pull.ts";
import { quantize } from "./cli/quantize.ts";
import { run } from "./cli/run.ts";
import { serve } from "./cli/serve.ts";
import { showModel } from "./cli/show.ts";
import { printVersion } from "./cli/version.ts";
import { readConfig } from "./config.ts";
import { Failure } from "./core/failure.ts";
import { ENGINE_COMMAND } from "./worker/messages.ts";

const EXIT_FAILURE = 1;
const EXIT_USAGE = 2;

async function main(words: readonly string[]): Promise<void> {
  const { command, ...options } = parseOptions(words);
  const settled = () => readConfig(options);
  switch (command) {
    case "serve":
      return await serve(settled(), options);
    case "run":
      return await run(settled(), options);
    case "models":
      return await models(settled(), options);
    case "show":
      return await showModel(settled(), options);
    case "fit":
      return await fitModel(settled(), options);
    case "pull":
      return await pullModel(settled(), options);
    case "quantize":
      return await quantize(settled(), options);
    case "config":
      return config(settled(), options);
    case "audit":
      return audit(settled(), options);
    case "keys":
      return keys(settled(), options);
    case "credentials":
      return await credentials(settled());
    case "version":
      return printVersion(options);
    case "help":
      return help();
  }
}

process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  // Whoever read it, `head` say, has enough.
  if (error.code === "EPIPE") process.exit();
  process.stderr.write(`bunsen: Cannot write the output: ${error.message}\n`);
  process.exit(EXIT_FAILURE);
});
// There is nobody left to tell, and a server goes on.
process.stderr.on("error", () => undefined);

try {
  const words = process.argv.slice(2);
  // Only then: whatever else this program does, MLX stays out of its main thread.
  if (words[0] === ENGINE_COMMAND) await import("./worker/main.ts");
  else await main(words);
} catch (error) {
  if (!(error instanceof Failure || error instanceof UsageError)) throw error;
  process.stderr.write(`bunsen: ${error.message}\n`);
  process.exit(error instanceof UsageError ? EXIT_USAGE : EXIT_FAILURE);
}
