/** What is read without a script, and what goes to one. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { CorruptError, NodeIdentity } from "../src/index.js";
import { clockAt, startServer } from "./support/server.js";

const server = await startServer();
const TASK = Buffer.from("the task");
const PAGE_BYTES = 2 * 1024 * 1024;

async function storeAt(clock = clockAt(Date.now())) {
  const store = await server.store({ clock, rules: { sessionBytes: PAGE_BYTES, valueBytes: PAGE_BYTES } });
  const key = (rest) => `{${store.namespace}:0}:${rest}`;
  return { clock, store, key, index: key("user:ann:sessions") };
}

const send = (...command) => server.admin.sendCommand(command);

/** What some reading comes to, and how many scripts it takes. */
async function counted(read) {
  await send("CONFIG", "RESETSTAT");
  const answer = await read();
  return [answer, await server.calls("evalsha")];
}

const listed = (store) => counted(async () => (await store.list({ user: "ann" })).sessions);
const told = (store) => counted(async () => (await store.migrations()).migrations.map(({ id }) => id).sort());

async function made(store, ...ids) {
  const sessions = [];
  for (const id of ids) sessions.push((await store.create({ id, user: "ann" })).session);
  return sessions;
}

test("live and expired sessions take no script", async () => {
  const { clock, store, index } = await storeAt();
  await store.create({ id: "old", user: "ann", ttlMs: 1000 });
  const live = await made(store, "a", "b");
  clock.now += 1000;
  assert.deepEqual(await listed(store), [live, 0]);
  assert.equal(await send("ZCARD", index), 3);
});

test("a freeze that is over is no longer told", async () => {
  const { clock, store } = await storeAt();
  const [session] = await made(store, "s");
  const { untilMs } = await store.freeze(session, TASK, "east");
  for (const [status, now] of [
    ["migrating", clock.now],
    ["active", untilMs],
  ]) {
    clock.now = now;
    const [sessions, scripts] = await listed(store);
    assert.deepEqual(sessions, [await store.get("s")]);
    assert.deepEqual([sessions[0].status, scripts], [status, 0]);
  }
});

test("an entry that leads nowhere takes the script once", async () => {
  const { store, index } = await storeAt();
  const live = await made(store, "a");
  await store.create({ id: "bob's", user: "bob" });
  for (const dead of ["ghost", "bob's", Buffer.from([0xff])]) {
    await send("ZADD", index, "1", dead);
    assert.deepEqual(await listed(store), [live, 1]);
    assert.deepEqual(await listed(store), [live, 0]);
  }
});

test("what is corrupt or foreign takes the script and stays", async () => {
  const { store, key, index } = await storeAt();
  const [, live] = await made(store, "a", "b");
  for (const [command, planted] of [
    ["SET", ""],
    ["SET", "garbage"],
    ["RPUSH", "x"],
  ]) {
    await send("DEL", key("session:a"));
    await send(command, key("session:a"), planted);
    assert.deepEqual(await listed(store), [[live], 1]);
  }
  assert.equal(await send("ZCARD", index), 2);
});

test("a record that is larger than its share is read by the script", async () => {
  const { store } = await storeAt();
  const attributes = { x: "x".repeat(PAGE_BYTES / 2 - 1000) };
  for (const id of ["a", "b"]) await store.create({ id, user: "ann", attributes });
  const ids = async () => {
    const [sessions, scripts] = await listed(store);
    return [sessions.map(({ id }) => id), scripts];
  };
  assert.deepEqual(await ids(), [["a", "b"], 0]);
  await made(store, "c");
  assert.deepEqual(await ids(), [["a", "b", "c"], 1]);
});

test("a server without memory reads by the script", async () => {
  const { store } = await storeAt();
  const live = await made(store, "a");
  await send("CONFIG", "SET", "maxmemory", "1");
  try {
    assert.deepEqual(await listed(store), [live, 1]);
  } finally {
    await send("CONFIG", "SET", "maxmemory", "0");
  }
});

test("only a migration that leads nowhere takes the script", async () => {
  const { clock, store, key } = await storeAt();
  for (const id of ["a", "b"]) {
    const { session } = await store.create({ id, user: "ann", attributes: { x: "x".repeat(5000) } });
    await store.freeze(session, TASK, "east");
  }
  assert.deepEqual(await told(store), [["a", "b"], 0]);
  await send("ZADD", key("migrations"), "1", "ghost");
  assert.deepEqual(await told(store), [["a", "b"], 1]);
  assert.deepEqual(await told(store), [["a", "b"], 0]);
  await store.delete("a");
  assert.deepEqual((await told(store))[0], ["b"]);
  clock.now += 24 * 3_600_000;
  assert.deepEqual(await told(store), [[], 0]);
});

test("only a lease that is none of ours takes the script", async () => {
  const { clock, store, key } = await storeAt();
  for (const node of ["a", "b"]) await store.heartbeat(new NodeIdentity(node), { want: "register", leaseMs: 1000 });
  const lapsed = () => counted(() => store.lapsedNodes());
  assert.deepEqual(await lapsed(), [[], 0]);
  await send("DEL", key("node:a:lease"));
  assert.deepEqual(await lapsed(), [["a"], 0]);
  clock.now += 1000;
  assert.deepEqual(await lapsed(), [["a", "b"], 0]);
  await send("SET", key("node:b:lease"), "garbage");
  await assert.rejects(lapsed(), CorruptError);
});
