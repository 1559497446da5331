import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Cloakroom } from "../src/index.js";
import { exampleOf } from "./support/readme.js";
import { startServer } from "./support/server.js";

const run = promisify(execFile);
const server = await startServer();
const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));
const env = { ...process.env, REDIS_URL: server.url };

/** A directory outside of the repository, with node-redis installed. */
function directory() {
  const made = mkdtempSync(join(tmpdir(), "cloakroom-"));
  after(() => rmSync(made, { recursive: true }));
  symlinkSync(path("../node_modules"), join(made, "node_modules"));
  return made;
}

test("the example in lua/README.md makes and reads a session with the bundle only", async () => {
  const cwd = directory();
  cpSync(path("../../../lua/bundle.json"), join(cwd, "bundle.json"));
  writeFileSync(join(cwd, "example.mjs"), exampleOf("../../../lua/README.md", "In Node"));
  const { stdout } = await run(process.execPath, ["example.mjs"], { cwd, env });
  assert.match(stdout, /^ok ann 1 .*theme"dark"\n$/);
  const store = await Cloakroom.connect(server.url, { namespace: "shop" });
  const { sessions } = await store.list({ user: "ann" });
  await store.deleteUser("ann");
  await store.close();
  assert.deepEqual(
    sessions.map((session) => session.get("theme")),
    ["dark"],
  );
});
