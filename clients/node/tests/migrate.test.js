import assert from "node:assert/strict";
import { test } from "node:test";
import { ConflictError, DepartedError, FrozenError, InvalidError } from "../src/index.js";
import { whole } from "./support/answers.js";
import { clockAt, startServer } from "./support/server.js";

const server = await startServer();
const TASK = Buffer.from("the task");

async function twoStores() {
  const clock = clockAt(Date.now());
  return { clock, west: await server.store({ clock }), east: await server.store({ clock }) };
}

/** Freezes a session and brings its copy in; returns the end of the freeze. */
async function sendCopy(west, east, session) {
  const { exported, untilMs } = await west.freeze(session, TASK, "east");
  assert.deepEqual(exported.session, session);
  assert.equal(await east.import(exported, { incoming: { task: TASK, untilMs, place: "west" } }), "imported");
  return untilMs;
}

/** All that are on their way, in both. */
async function onTheirWay(...stores) {
  const pages = await Promise.all(stores.map((store) => store.migrations()));
  assert.ok(pages.every(({ next }) => next === null));
  return pages.flatMap(({ migrations }) => migrations.map(whole));
}

test("a session goes to another store, and can be changed in one at a time", async () => {
  const { clock, west, east } = await twoStores();
  const { session } = await west.create({ user: "ann", connection: "c", node: "n", attributes: { a: 1 } });
  const { id } = session;
  const untilMs = await sendCopy(west, east, session);
  assert.equal(untilMs, clock.now + 30_000);
  for (const store of [west, east]) {
    assert.equal((await store.get(id)).status, "migrating");
    await assert.rejects(store.patch(id, { set: { a: 2 } }), FrozenError);
  }
  await assert.rejects(west.freeze(session, Buffer.from("another!"), "north"), FrozenError);
  assert.deepEqual(await onTheirWay(west, east), [
    { id, task: TASK, place: "east", node: null, phase: "outgoing", untilMs },
    { id, task: TASK, place: "west", node: null, phase: "incoming", untilMs },
  ]);

  await assert.rejects(west.depart(session, TASK, untilMs - 1), ConflictError);
  assert.deepEqual([await west.depart(id, TASK, untilMs), await west.depart(id, TASK, untilMs)], [true, true]);
  assert.deepEqual(await onTheirWay(west), [{ id, task: TASK, place: "east", node: null, phase: "departed", untilMs: null }]);
  await assert.rejects(west.get(id), (error) => error instanceof DepartedError && error.place === "east");
  assert.equal(await west.count({ user: "ann" }), 0);

  assert.equal(await east.thaw(session, TASK, "incoming"), "thawed");
  assert.equal(await east.thaw(session, TASK, "incoming"), "unchanged");
  assert.equal(await west.clean(session, TASK, "departed"), true);
  assert.equal(await west.clean(session, TASK, "departed"), false);
  assert.deepEqual(await onTheirWay(west, east), []);
  assert.deepEqual(await east.get(id), session);
  assert.deepEqual(await east.sessionByConnection("c"), session);
  assert.equal((await east.patch(session, { set: { a: 2 } })).version, session.version + 1);
  clock.now += 30_000;
  assert.equal(await west.get(id), null);
});

test("a session that is deleted at its source goes nowhere", async () => {
  const { west, east } = await twoStores();
  const { session } = await west.create({ user: "ann", connection: "c" });
  const untilMs = await sendCopy(west, east, session);
  assert.ok(await west.delete(session));
  assert.equal(await west.depart(session, TASK, untilMs), false);
  assert.equal(await east.clean(session.id, TASK, "copy", { untilMs: untilMs - 1 }), false);
  assert.equal(await east.clean(session.id, TASK, "copy", { untilMs }), true);
  assert.deepEqual([await west.get(session.id), await east.get(session.id)], [null, null]);
  assert.deepEqual([await east.count({ user: "ann" }), await east.sessionByConnection("c")], [0, null]);
  assert.deepEqual(await onTheirWay(west, east), []);
});

test("a copy that is deleted is not to be when its session departs", async () => {
  const { west, east } = await twoStores();
  const { session } = await west.create({ user: "ann" });
  const untilMs = await sendCopy(west, east, session);
  assert.ok(await east.delete(session));
  const deleted = { id: session.id, task: TASK, place: "west", node: null, phase: "deleted", untilMs: null };
  assert.deepEqual(await onTheirWay(east), [deleted]);
  assert.equal(await west.depart(session, TASK, untilMs), true);
  assert.equal(await east.thaw(session, TASK, "incoming"), "missing");
  assert.equal(await west.clean(session, TASK, "departed"), true);
  assert.equal(await east.clean(session, TASK, "deleted"), true);
  assert.deepEqual(await onTheirWay(west, east), []);
});

test("a session goes to the node that is noted", async () => {
  const { west, east } = await twoStores();
  const { session } = await west.create({ user: "ann", connection: "c", node: "n" });
  const { id } = session;
  const { exported, untilMs } = await west.freeze(session, TASK, "east", { node: "m" });
  assert.deepEqual(await onTheirWay(west), [{ id, task: TASK, place: "east", node: "m", phase: "outgoing", untilMs }]);
  const incoming = { task: TASK, untilMs, place: "west", node: "m" };
  for (const _ of [1, 2]) assert.equal(await east.import(exported, { incoming }), "imported");
  assert.equal(await west.depart(session, TASK, untilMs), true);
  assert.equal(await east.thaw(id, TASK, "incoming"), "thawed");
  const { node, connection, status, version } = await east.get(id);
  assert.deepEqual([node, connection, status, version], ["m", null, "suspended", session.version + 1]);
  assert.deepEqual([await east.count({ node: "m" }), await east.count({ node: "n" })], [1, 0]);
});

test("a session that is thawed at its source stays", async () => {
  const { west } = await twoStores();
  const { session } = await west.create();
  await west.freeze(session, TASK, "east");
  await assert.rejects(west.thaw(session, TASK, "incoming"), FrozenError);
  assert.equal(await west.thaw(session, TASK, "outgoing"), "thawed");
  assert.deepEqual(await west.get(session.id), session);
  assert.equal(await west.thaw("none", TASK, "outgoing"), "missing");
  assert.equal(await west.freeze("none", TASK, "east"), null);
});

test("what ends a session leaves word for as long as a copy may wait", async () => {
  const { clock, west, east } = await twoStores();
  const ended = [];
  for (let at = 0; at < 3; at++) ended.push((await west.create({ user: "ann" })).session);
  for (const session of ended) await sendCopy(west, east, session);
  clock.now += 60_000;
  assert.deepEqual(await west.get(ended[0].id), ended[0]);
  await west.patch(ended[0], { set: { a: 1 } });
  await west.delete(ended[0]);
  const { session: renamed } = await west.rotate(ended[1]);
  assert.deepEqual(await west.get(ended[1].id), renamed);
  assert.equal((await west.deleteUser("ann")).removed.length, 2);
  clock.now += 600_000;
  for (const { id } of ended) {
    assert.equal(await west.get(id), null);
    assert.equal(await west.knows(id), true);
  }
  assert.equal(await west.knows("never"), false);
  assert.equal((await west.create({ id: ended[1].id })).session.id, ended[1].id);
  assert.deepEqual((await west.list({ user: "ann" })).sessions, []);
});

test("a freeze that began by a clock that was set back since is over", async () => {
  const { clock, west } = await twoStores();
  const { session } = await west.create({ ttlMs: 1_800_000 });
  const { untilMs } = await west.freeze(session, TASK, "east");
  clock.now -= 3_600_000;
  assert.deepEqual(await west.get(session.id), session);
  await assert.rejects(west.depart(session, TASK, untilMs), ConflictError);
  assert.equal((await west.refresh(session)).expiresAtMs, clock.now + 1_800_000);
});

test("the list of those on their way has pages", async () => {
  const { west } = await twoStores();
  for (const [place, id] of ["a", "b", "c"].entries()) {
    await west.create({ id });
    await west.freeze(id, TASK, "east", { spanMs: 1000 + place });
  }
  const first = await west.migrations({ limit: 2 });
  const second = await west.migrations({ skip: first.next, limit: 2 });
  const idsOf = ({ migrations }) => migrations.map(({ id }) => id);
  assert.deepEqual([idsOf(first), first.next, idsOf(second), second.next], [["a", "b"], 2, ["c"], null]);
});

test("what is no step of a migration is not sent", async () => {
  const { west } = await twoStores();
  const { session } = await west.create();
  const exported = await west.export(session.id);
  const incoming = { task: TASK, untilMs: 1, place: "west" };
  const steps = [
    ...[Buffer.alloc(8), Buffer.from("short"), "the task"].map((task) => () => west.freeze(session, task, "east")),
    () => west.freeze(session, TASK, "east", { node: "x".repeat(257) }),
    () => west.thaw(session, TASK, "sideways"),
    () => west.clean(session, TASK, "copy"),
    () => west.clean(session, TASK, "departed", { untilMs: 1 }),
    () => west.import(exported, { incoming, replaces: "older" }),
    () => west.import(exported, { incoming: { ...incoming, task: undefined } }),
  ];
  for (const step of steps) await assert.rejects(step, InvalidError);
  assert.deepEqual(await west.get(session.id), session);
});
