/**
 * `npm run setup`: installs and builds what is missing, and nothing else. Says so in one sentence when it cannot.
 * --oracles also installs what only the tests need: the Python packages they compare with.
 */

const NODE_MAJOR_MIN = 20;

if (Number(process.versions.node.split(".")[0]) < NODE_MAJOR_MIN) {
  console.error(`setup: Cannot set up: this is Node.js ${process.versions.node}, ${NODE_MAJOR_MIN} or later is needed`);
  process.exit(1);
}
// Loaded only now: an older Node.js would stumble over the syntax before it could say the sentence above.
import("./setup/set-up.mjs")
  .then(({ setUp }) => setUp({ oracles: process.argv.includes("--oracles") }))
  .catch((error) => {
    console.error(`setup: ${error.name === "SetupError" ? error.message : error.stack}`);
    process.exit(1);
  });
