import assert from "node:assert/strict";
import { test } from "node:test";
import { Partitions } from "../src/partitions.js";
import { startServer } from "./support/server.js";

const server = await startServer();

/** The events of a stream, each by its fields that are not empty. */
async function told(key) {
  const entries = await server.admin.sendCommand(["XRANGE", key, "-", "+"]);
  return entries.map(([, fields]) => {
    const texts = fields.map(String);
    const pairs = texts.filter((_, at) => at % 2 === 0).map((name, at) => [name, texts[2 * at + 1]]);
    return Object.fromEntries(pairs.filter(([, value]) => value !== ""));
  });
}

for (const count of [1, 16]) {
  test(`a store tells what it changes where its namespace of ${count} has events`, async () => {
    const namespace = server.namespace();
    const partitions = new Partitions(namespace, count);
    await server.admin.sendCommand(["SET", `{${namespace}:0}:contract`, `1 ${count} 1000`]);
    const store = await server.store({ namespace });
    const { session } = await store.create({ user: "ann", connection: "c", node: "n" });
    await store.patch(session, { set: { a: 1 } });
    await store.deleteUser("ann");
    const tag = partitions.tags[partitions.of("ann")];
    const names = { id: session.id, user: "ann", connection: "c", node: "n" };
    const expected = [
      { what: "begun", version: "0" },
      { what: "created", version: "1", ...names },
      { what: "ended", why: "deleted", version: "3", ...names },
    ];
    for (const stream of ["events", "node:n:events"]) assert.deepEqual(await told(`${tag}:${stream}`), expected);
    for (const each of partitions.tags) {
      const note = await server.admin.sendCommand(["GET", `${each}:contract`]);
      assert.equal(String(note), `1 ${count} 1000`);
    }
  });
}
