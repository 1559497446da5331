import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Cloakroom } from "../src/index.js";
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

function exampleOf(file, section) {
  const [, text] = readFileSync(path(file), "utf8").split(`## ${section}\n`);
  return text.match(/```js\n(.*?)```/s)[1];
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

test("a packed client works by itself, as its README shows", async () => {
  const cwd = directory();
  // Packed from a copy, for packing puts the bundle beside the sources for a moment.
  const copy = join(cwd, "clients/node");
  for (const part of ["src", "package.json", "README.md"])
    cpSync(path(`../${part}`), join(copy, part), { recursive: true });
  cpSync(path("../../../lua/bundle.json"), join(cwd, "lua/bundle.json"));
  const { stdout: packed } = await run("npm", ["pack", "--silent", "--pack-destination", cwd], { cwd: copy });
  await run("tar", ["-xzf", packed.trim()], { cwd });
  for (const part of ["clients", "lua"]) rmSync(join(cwd, part), { recursive: true });
  const example = exampleOf("../README.md", "Use it").replace('"cloakroom"', '"./package/src/index.js"');
  writeFileSync(join(cwd, "example.mjs"), example);
  const { stdout } = await run(process.execPath, ["example.mjs"], { cwd, env });
  assert.match(stdout, /^ann has \[ 'umbrella', 'gloves' \]\n9007199254740993\n1 gone\n$/);
});
