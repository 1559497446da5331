import assert from "node:assert/strict";
import { test } from "node:test";
import { FencedError, NodeIdentity, InvalidError, LeasedError } from "../src/index.js";
import { whole } from "./support/answers.js";
import { clockAt, startServer } from "./support/server.js";

const server = await startServer();
const LEASE = 10_000;

async function register(store, node) {
  const identity = new NodeIdentity(node);
  await store.heartbeat(identity, { want: "register", leaseMs: LEASE });
  return identity;
}

test("a lease is held, renewed and released", async () => {
  const clock = clockAt(Date.now());
  const store = await server.store({ clock });
  const identity = await register(store, "n");
  const until = clock.now + LEASE;
  const taken = store.heartbeat(new NodeIdentity("n"), { want: "register" });
  await assert.rejects(taken, (error) => error instanceof LeasedError && error.untilMs === until);
  clock.now += LEASE - 1;
  assert.equal(await store.heartbeat(identity, { leaseMs: LEASE }), clock.now + LEASE);
  assert.deepEqual(await store.lapsedNodes(), []);
  assert.equal(await store.heartbeat(identity, { want: "release" }), clock.now);
  assert.deepEqual(await store.lapsedNodes(), ["n"]);
  await assert.rejects(store.heartbeat(identity), FencedError);
  await assert.rejects(store.heartbeat("n"), InvalidError);
});

test("nodes are listed with their sessions", async () => {
  const clock = clockAt(Date.now());
  const store = await server.store({ clock });
  await register(store, "b");
  clock.now += LEASE;
  await register(store, "a");
  await store.create({ node: "b" });
  const listed = (await store.nodes()).map(({ name, isLive, sessions }) => [name, isLive, sessions]);
  assert.deepEqual(listed, [
    ["a", true, 0],
    ["b", false, 1],
  ]);
  // A lease that would be held for longer than it is long began by a clock that was set back since.
  clock.now -= 3_600_000;
  assert.deepEqual(await store.lapsedNodes(), ["a", "b"]);
});

test("the sessions of a dead node go to another, once", async () => {
  const clock = clockAt(Date.now());
  const store = await server.store({ clock });
  const dead = await register(store, "dead");
  const ids = ["a", "b", "c", "d", "e"];
  for (const id of ids) await store.create({ id, user: "ann", connection: `c-${id}`, node: "dead" });
  await assert.rejects(store.recover("dead", "live", { evenIfLeased: true }), FencedError);
  const live = await register(store, "live");
  await assert.rejects(store.recover("dead", "live"), LeasedError);
  clock.now += LEASE - 1;
  await store.heartbeat(live, { leaseMs: LEASE });
  clock.now += 1;
  const recoverer = store.asNode(live);
  const first = await recoverer.recover("dead", "live", { batch: 3 });
  const second = await recoverer.recover("dead", "live", { batch: 3, after: first.next });
  const taken = [...first.sessions, ...second.sessions];
  assert.deepEqual(
    taken.map(({ id }) => id),
    ids,
  );
  assert.deepEqual(whole(taken[0]), { id: "a", version: 2, user: "ann", connection: "c-a" });
  assert.deepEqual([second.next, await store.lapsedNodes()], [null, []]);
  const session = await store.get("a");
  assert.deepEqual([session.node, session.connection, session.status], ["live", null, "suspended"]);
  await assert.rejects(store.asNode(dead).patch("a", { set: { late: true } }), FencedError);
  assert.deepEqual(await store.get("a"), session);
});

test("an owner writes while it holds its lease, and never later", async () => {
  const clock = clockAt(Date.now());
  const store = await server.store({ clock });
  const owner = store.asNode(await register(store, "n"));
  const { session: made } = await owner.create({ user: "ann", connection: "c" });
  assert.equal(made.node, "n");
  await owner.patch(made, { set: { a: 1 } });
  await owner.bind(made, { connection: "d" });
  assert.equal((await owner.refreshAndGet(made.id)).node, "n");
  await assert.rejects(owner.bind(made, { connection: "e", node: "m" }), InvalidError);
  clock.now += LEASE;
  await register(store, "n");
  const session = await store.get(made.id);
  const writes = [
    () => owner.patch(session, { set: { a: 2 } }),
    () => owner.update(session),
    () => owner.refresh(session.id),
    () => owner.rotate(session),
    () => owner.bind(session, { connection: "e" }),
    () => owner.unbind(session, "d"),
    () => owner.delete(session),
    () => owner.create({ user: "ann" }),
  ];
  for (const write of writes) await assert.rejects(write, FencedError);
  assert.deepEqual(await store.get(made.id), session);
  assert.equal(await store.count({ user: "ann" }), 1);
});
