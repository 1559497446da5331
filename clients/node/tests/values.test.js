import assert from "node:assert/strict";
import { test } from "node:test";
import { InvalidError, RawJson } from "../src/index.js";
import { startServer } from "./support/server.js";

const server = await startServer();

test("what was got and changed in place is saved by an update", async () => {
  const store = await server.store();
  const { session } = await store.create({ attributes: { cart: ["umbrella"], profile: { name: "Ann", tags: [] }, count: 1 } });
  const read = await store.get(session.id);
  read.get("cart").push("gloves");
  read.get("cart").push("hat");
  read.get("profile").tags.push("new");
  await store.update(read);
  const again = await store.get(session.id);
  assert.deepEqual(again.get("cart"), ["umbrella", "gloves", "hat"]);
  assert.deepEqual(again.get("profile"), { name: "Ann", tags: ["new"] });
  assert.deepEqual([read.json("cart"), read.version], ['["umbrella","gloves","hat"]', 2]);
});

test("what was set and changed since is saved as it is then", async () => {
  const store = await server.store();
  const { session } = await store.create();
  const cart = ["umbrella"];
  session.set("cart", cart);
  cart.push("gloves");
  session.extensions.set("list", []);
  session.extensions.get("list").push(1);
  await store.update(session);
  const read = await store.get(session.id);
  assert.deepEqual([read.get("cart"), read.extensions.get("list")], [["umbrella", "gloves"], [1]]);
});

test("what was only looked at stays as it was written, with all of its digits", async () => {
  const store = await server.store();
  const json = '{ "big": 9007199254740993, "exact": 0.1, "e": 1E2, "text": "12345678901234567890" }';
  const { session } = await store.create({ attributes: { it: new RawJson(json) } });
  const read = await store.get(session.id);
  assert.equal(read.get("it").exact, 0.1);
  read.set("other", 1);
  await store.update(read);
  assert.equal((await store.get(session.id)).json("it"), json);
});

test("a change in place of what has more digits than JavaScript is refused, not lost", async () => {
  const store = await server.store();
  const read = async (json) => {
    const { session } = await store.create({ attributes: { it: new RawJson(json) } });
    session.get("it").n = 1;
    return session;
  };
  for (const json of ['{"a":9007199254740993}', '{"a":[0.10000000000000000001]}', '{"a":-123456789012345678}']) {
    const session = await read(json);
    await assert.rejects(store.update(session), (error) => error instanceof InvalidError && error.field === "attributes");
    assert.equal((await store.get(session.id)).json("it"), json);
  }
  for (const json of ['{"a":9007199254740992}', '{"a":[0.10, 1E2, -0.0, 1.5e-7]}', '{"a":"9007199254740993"}', '{"\\"9007199254740993":1}']) {
    const session = await read(json);
    await store.update(session);
    assert.equal((await store.get(session.id)).get("it").n, 1);
  }
});

test("what a change in place made of a value that JSON cannot hold is refused", async () => {
  const store = await server.store();
  const { session } = await store.create({ attributes: { list: [] } });
  session.get("list").push(NaN);
  const isNamed = (error) => error instanceof InvalidError && error.field === "attributes" && /"list"/.test(error.message);
  await assert.rejects(store.update(session), isNamed);
  assert.deepEqual((await store.get(session.id)).get("list"), []);
});

test("values are nested as deep as all languages read them", async () => {
  const nested = (depth) => JSON.parse("[".repeat(depth) + "]".repeat(depth));
  const store = await server.store();
  const { session } = await store.create({ attributes: { deep: nested(127) } });
  assert.equal((await store.get(session.id)).json("deep").length, 254);
  await assert.rejects(store.patch(session, { set: { deep: nested(128) } }), InvalidError);
});
