import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cpSync, mkdtempSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { exampleOf } from "./support/readme.js";
import { startServer } from "./support/server.js";

const run = promisify(execFile);
const server = await startServer();
const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));
const { NODE_TEST_CONTEXT: _, ...ownEnv } = process.env;
/** A test inside of a test reports for itself. */
const env = { ...ownEnv, REDIS_URL: server.url };
// What was downloaded for the tests is not asked for again.
const INSTALL = ["install", "--silent", "--prefer-offline", "--no-audit", "--no-fund"];

function directory() {
  const made = mkdtempSync(join(tmpdir(), "cloakroom-"));
  after(() => rmSync(made, { recursive: true }));
  return made;
}

/** The sources as they are in the repository, for packing and installing put something beside them. */
function copied() {
  const root = directory();
  for (const part of ["src", "package.json", "README.md", "bundle.json"]) {
    cpSync(path(`../${part}`), join(root, "clients/node", part), { recursive: true, verbatimSymlinks: true });
  }
  cpSync(path("../../../lua/bundle.json"), join(root, "lua/bundle.json"));
  return join(root, "clients/node");
}

/** A project that has nothing but this package, from wherever that comes. */
async function projectWith(source) {
  const cwd = directory();
  writeFileSync(join(cwd, "package.json"), '{ "private": true, "type": "module" }');
  await run("npm", [...INSTALL, source], { cwd });
  return cwd;
}

const copy = copied();
const place = directory();
const { stdout: packed } = await run("npm", ["pack", "--silent", "--pack-destination", place], { cwd: copy });
const tarball = join(place, packed.trim());
const project = await projectWith(tarball);

test("what is packed is the client with its bundle, and the directory is as it was", async () => {
  const { stdout } = await run("tar", ["-tzf", tarball]);
  const files = stdout.trim().split("\n");
  const needed = ["package.json", "README.md", "bundle.json", "src/index.js", "src/index.d.ts"];
  assert.deepEqual(
    needed.filter((file) => !files.includes(`package/${file}`)),
    [],
  );
  const ours = /^package\/(src\/[a-z-]+(\.d\.ts|\.js)|bundle\.json|package\.json|README\.md)$/;
  assert.deepEqual(
    files.filter((file) => !ours.test(file)),
    [],
  );
  assert.equal(readlinkSync(join(copy, "bundle.json")), "../../lua/bundle.json");
});

test("the package that was packed works by itself, as its README shows", async () => {
  const cwd = project;
  writeFileSync(join(cwd, "example.js"), exampleOf("../README.md", "Use it"));
  const { stdout } = await run(process.execPath, ["example.js"], { cwd, env });
  assert.match(stdout, /^ann has \[ 'umbrella', 'gloves' \]\n9007199254740993\n1 gone\n$/);
});

test("the example of the page for other languages runs", async () => {
  const cwd = project;
  writeFileSync(join(cwd, "shop.mjs"), exampleOf("../../../docs/other-languages.md", "In Node"));
  const { stdout } = await run(process.execPath, ["shop.mjs"], { cwd, env });
  assert.equal(stdout, "ann [ 'umbrella' ] dark\n1 ended\n");
});

test("a test of a user's own runs with it", async () => {
  const cwd = project;
  cpSync(path("./user/shop.test.js"), join(cwd, "shop.test.js"));
  const { stdout } = await run(process.execPath, ["--test", "--test-reporter=tap", "shop.test.js"], { cwd, env });
  assert.match(stdout, /^# pass 2$/m);
});

test("a user's TypeScript is checked by its declarations, and they by themselves", async () => {
  const cwd = project;
  cpSync(path("./types.ts"), join(cwd, "types.ts"));
  const checks = { strict: true, noEmit: true, skipLibCheck: false };
  const compilerOptions = { ...checks, target: "es2022", module: "nodenext", types: ["node"] };
  writeFileSync(join(cwd, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["types.ts"] }));
  for (const types of ["@types", "undici-types"]) {
    symlinkSync(path(`../node_modules/${types}`), join(cwd, "node_modules", types));
  }
  const check = () => run(process.execPath, [path("../node_modules/typescript/bin/tsc"), "-p", "."], { cwd });
  await check().catch(({ stdout }) => assert.fail(stdout));
  // It sees what is wrong.
  const wrong =
    'import { Cloakroom } from "@cloakroom/sessions";\nvoid Cloakroom.connect("x", { rules: { ttl: 1 } });\n';
  writeFileSync(join(cwd, "types.ts"), wrong);
  await assert.rejects(check(), ({ stdout }) => /TS2353/.test(stdout));
});

test("the directory itself is installed", async () => {
  const cwd = await projectWith(copied());
  writeFileSync(join(cwd, "example.js"), exampleOf("../README.md", "Use it"));
  const { stdout } = await run(process.execPath, ["example.js"], { cwd, env });
  assert.match(stdout, /1 gone\n$/);
});
