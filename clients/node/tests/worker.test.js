import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { RawJson } from "../src/index.js";
import { startServer } from "./support/server.js";

const server = await startServer();
const WORKER = fileURLToPath(new URL("worker", import.meta.url));
const run = promisify(execFile);

test("workers go through random operations beside each other, and leave whole sessions", async () => {
  const namespace = server.namespace();
  const outputs = await Promise.all(["1", "2"].map((seed) => run(WORKER, [server.url, namespace, seed, "1"])));
  for (const { stdout } of outputs) {
    const { operations, by_word: byWord } = JSON.parse(stdout);
    assert.ok(byWord.ok > 0);
    assert.equal(
      Object.values(byWord).reduce((sum, count) => sum + count),
      operations,
    );
  }
  const store = await server.store({ namespace });
  for (const user of ["ann", "bob", "cy"]) {
    const { sessions } = await store.list({ user });
    assert.ok(sessions.every((session) => session.user === user));
    assert.equal(await store.count({ user }), sessions.length);
  }
});

test("a worker reads sessions as canonical JSON", async () => {
  const store = await server.store();
  await store.create({ id: "a", user: "ann", attributes: { b: [], a: new RawJson("9007199254740993") } });
  const reading = run(WORKER, ["read", server.url, store.namespace]);
  reading.child.stdin.end("a\nnobody\n");
  const { stdout } = await reading;
  const attributes = { a: "9007199254740993", b: "[]" };
  const session = { id: "a", user: "ann", connection: null, node: null, version: 1, attributes };
  assert.equal(stdout, `${JSON.stringify(session)}\nnull\n`);
});
