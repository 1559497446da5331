import assert from "node:assert/strict";
import { test } from "node:test";
import { InvalidError, LimitError, NodeIdentity, TooLargeError } from "../src/index.js";
import { whole } from "./support/answers.js";
import { clockAt, startServer } from "./support/server.js";

const server = await startServer();

test("a user's sessions are listed page by page, whatever goes meanwhile", async () => {
  const store = await server.store({ clock: clockAt(Date.now()) });
  const ids = ["a", "b", "c", "d", "e", "f", "g"];
  for (const id of ids) await store.create({ id, user: "ann" });
  const first = await store.list({ user: "ann" }, { size: 3 });
  assert.deepEqual(
    first.sessions.map(({ id }) => id),
    ["a", "b", "c"],
  );
  await store.rotate("a", { newId: "aa" });
  await store.delete("b");
  const second = await store.list({ user: "ann" }, { size: 3, after: first.next });
  assert.deepEqual(
    second.sessions.map(({ id }) => id),
    ["d", "e", "f"],
  );
  const third = await store.list({ user: "ann" }, { size: 3, after: second.next });
  assert.deepEqual([third.sessions.map(({ id }) => id), third.next], [["g"], null]);
  assert.equal(await store.count({ user: "ann" }), 6);
  assert.deepEqual(await store.list({ node: "none" }), { sessions: [], next: null });
});

test("all of a user's sessions but one are deleted, in batches", async () => {
  const store = await server.store();
  const made = await Promise.all(
    Array.from({ length: 450 }, (_, at) => store.create({ id: `s${at}`, user: "ann", connection: `c${at}` })),
  );
  assert.equal(made.length, 450);
  const { session: kept } = await store.rotate("s7", { newId: "kept" });
  const { removed, corrupt } = await store.deleteUser("ann", { keep: "s7" });
  assert.deepEqual([removed.length, corrupt], [449, []]);
  assert.ok(removed.some(({ id, connection }) => id === "s449" && connection === "c449"));
  assert.deepEqual((await store.list({ user: "ann" })).sessions, [kept]);
  assert.equal((await store.deleteUser("ann")).removed.length, 1);
  assert.equal((await store.deleteUser("ann")).removed.length, 0);
});

test("expired sessions are found, reaped once, and handed out", async () => {
  const clock = clockAt(Date.now());
  const store = await server.store({ clock, rules: { ttlMs: 1000 } });
  for (const id of ["a", "b", "c"]) await store.create({ id, user: "ann", attributes: { id } });
  clock.now += 1000;
  assert.deepEqual((await store.expired({ skip: 1, limit: 1 })).map(whole), [{ id: "b", expiredAtMs: clock.now }]);
  assert.deepEqual(await store.expired({ beforeMs: clock.now - 1 }), []);
  const first = await store.reap(2);
  assert.deepEqual(
    first.sessions.map((session) => session.get("id")),
    ["a", "b"],
  );
  assert.deepEqual([first.more, first.dropped, first.corrupt], [true, 0, []]);
  const second = await store.reap();
  assert.deepEqual([second.sessions.map(({ id }) => id), second.more], [["c"], false]);
  assert.deepEqual((await store.reap()).sessions, []);
});

test("reaping sets aside what is corrupt and names it once", async () => {
  const clock = clockAt(Date.now());
  const store = await server.store({ clock, rules: { ttlMs: 1000 } });
  for (const id of ["a", "b"]) await store.create({ id });
  await server.admin.sendCommand(["SET", `{${store.namespace}:0}:session:a`, "broken"]);
  clock.now += 1000;
  const first = await store.reap(1);
  assert.deepEqual([first.sessions, first.corrupt, first.more], [[], ["a"], true]);
  assert.equal(await server.admin.sendCommand(["GET", `{${store.namespace}:0}:aside:a`]), "broken");
  const { sessions, corrupt } = await store.reap();
  assert.deepEqual([sessions.map(({ id }) => id), corrupt], [["b"], []]);
});

test("a count drops what has no record", async () => {
  const store = await server.store();
  const index = `{${store.namespace}:0}:user:ann:sessions`;
  await store.create({ user: "ann" });
  await server.admin.sendCommand(["ZADD", index, "1", "lost", "1", Buffer.from([0xff])]);
  assert.equal(await store.count({ user: "ann" }), 1);
  assert.equal(await server.admin.sendCommand(["ZCARD", index]), 1);
});

test("what is no text stops nothing", async () => {
  const clock = clockAt(Date.now());
  const store = await server.store({ clock, rules: { sessionsPerUser: 1, onLimit: "evictOldest" } });
  const key = (rest) => `{${store.namespace}:0}:${rest}`;
  const node = new NodeIdentity("n");
  await store.heartbeat(node, { want: "register" });
  const bad = [Buffer.from([0xff, 0xfe]), Buffer.alloc(129, "x"), Buffer.from([0x78, 0xe2, 0x82])];
  for (const index of ["user:ann:sessions", "node:dead:sessions", "expiry", "migrations"]) {
    for (const id of bad) await server.admin.sendCommand(["ZADD", key(index), "1", id]);
  }
  await server.admin.sendCommand(["ZADD", key("nodes"), "1", Buffer.from([0xff])]);
  await server.admin.sendCommand(["SET", key("connection:c:session"), Buffer.from([0xff])]);
  const ids = (sessions) => sessions.map(({ id }) => id);
  await store.create({ id: "a", user: "ann", connection: "c", node: "dead" });
  assert.deepEqual(ids((await store.list({ user: "ann" })).sessions), ["a"]);
  await store.create({ id: "b", user: "ann", node: "dead" });
  assert.equal(await store.count({ user: "ann" }), 1);
  assert.deepEqual(await store.expired(), []);
  assert.equal((await store.reap()).dropped, 3);
  assert.deepEqual((await store.migrations()).migrations, []);
  assert.deepEqual(
    (await store.nodes()).map(({ name }) => name),
    ["n"],
  );
  assert.deepEqual(ids((await store.recover("dead", "n")).sessions), ["b"]);
  assert.equal(await store.count({ node: "dead" }), 0);
  assert.deepEqual(ids((await store.deleteUser("ann")).removed), ["b"]);
});

test("a session whose id is no text is removed and counted", async () => {
  const clock = clockAt(Date.now());
  const store = await server.store({ clock, rules: { ttlMs: 1000 } });
  const key = (rest) => Buffer.concat([Buffer.from(`{${store.namespace}:0}:`), Buffer.from(rest)]);
  const send = (...command) => server.admin.sendCommand(command);
  for (const [user, score] of [
    ["ann", String(2 ** 46)],
    ["bob", "1"],
  ]) {
    const { session } = await store.create({ user });
    const bad = Buffer.concat([Buffer.from([0xff]), Buffer.from(user)]);
    await send("RENAME", key(`session:${session.id}`), Buffer.concat([key("session:"), bad]));
    await send("ZREM", key("expiry"), session.id);
    await send("ZADD", key("expiry"), score, bad);
    await send("DEL", key(`user:${user}:sessions`));
    await send("ZADD", key(`user:${user}:sessions`), "1", bad);
  }
  const deleted = await store.deleteUser("ann");
  assert.deepEqual([deleted.removed, deleted.corrupt, deleted.unreadable], [[], [], 1]);
  clock.now += 1000;
  const { sessions, corrupt, unreadable } = await store.reap();
  assert.deepEqual([sessions, corrupt, unreadable], [[], [], 1]);
  assert.equal(await send("EXISTS", key("user:ann:sessions"), key("user:bob:sessions")), 0);
});

test("large sessions are made, recovered and reaped some at a time", async () => {
  const clock = clockAt(Date.now());
  const store = await server.store({ clock, rules: { ttlMs: 100_000 } });
  await store.heartbeat(new NodeIdentity("n"), { want: "register" });
  const attributes = { a: "x".repeat(250_000) };
  const made = await store.createMany(Array.from({ length: 10 }, () => ({ node: "dead", attributes })));
  assert.ok(made.every(({ session }) => session));
  let taken = 0;
  for (let after; ;) {
    const { sessions, next } = await store.recover("dead", "n", { after });
    assert.ok(sessions.length <= 4);
    taken += sessions.length;
    if (next === null) break;
    after = next;
  }
  assert.equal(taken, 10);
  clock.now += 200_000;
  const reaped = [await store.reap(), await store.reap()];
  assert.deepEqual(
    reaped.map(({ sessions, more }) => [sessions.length, more]),
    [
      [8, true],
      [2, false],
    ],
  );
  assert.equal(reaped[0].sessions[0].get("a").length, 250_000);
});

test("a session has 1,024 entries at most", async () => {
  const store = await server.store();
  const entries = (count) => Object.fromEntries(Array.from({ length: count }, (_, at) => [`k${at}`, at]));
  const { session } = await store.create({ attributes: entries(1024) });
  const isTooMany = (error) => error instanceof TooLargeError && error.entries === 1025;
  await assert.rejects(store.patch(session, { set: { x: 1 } }), isTooMany);
  await assert.rejects(store.create({ attributes: entries(1025) }), isTooMany);
  await assert.rejects(store.patch(session, { remove: Object.keys(entries(1025)) }), InvalidError);
});

test("the limit of sessions refuses a login or makes the oldest go", async () => {
  const clock = clockAt(Date.now());
  const namespace = server.namespace();
  const rejecting = await server.store({ clock, namespace, rules: { sessionsPerUser: 2 } });
  await rejecting.create({ id: "a", user: "ann", connection: "c1", node: "n1" });
  clock.now += 1;
  await rejecting.create({ id: "b", user: "ann" });
  const refused = rejecting.create({ user: "ann" });
  await assert.rejects(refused, (error) => error instanceof LimitError && error.live === 2);
  const evicting = await server.store({ clock, namespace, rules: { sessionsPerUser: 2, onLimit: "evictOldest" } });
  clock.now += 1;
  const { evicted } = await evicting.create({ user: "ann" });
  assert.deepEqual(evicted.map(whole), [{ id: "a", user: "ann", connection: "c1", node: "n1" }]);
  const { session: visit } = await evicting.create();
  assert.deepEqual(
    (await evicting.rotate(visit, { user: "ann" })).evicted.map(({ id }) => id),
    ["b"],
  );
});
