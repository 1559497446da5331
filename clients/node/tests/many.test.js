import assert from "node:assert/strict";
import { test } from "node:test";
import { LimitError } from "../src/index.js";
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
  const store = await server.store({ clock, rules: { ttl: 1000 } });
  for (const id of ["a", "b", "c"]) await store.create({ id, user: "ann", attributes: { id } });
  clock.now += 1000;
  assert.deepEqual(await store.expired({ skip: 1, limit: 1 }), [{ id: "b", expiredAt: clock.now }]);
  assert.deepEqual(await store.expired({ before: clock.now - 1 }), []);
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

test("reaping passes over what is corrupt and names it", async () => {
  const clock = clockAt(Date.now());
  const store = await server.store({ clock, rules: { ttl: 1000 } });
  for (const id of ["a", "b"]) await store.create({ id });
  await server.admin.sendCommand(["SET", `{${store.namespace}:0}:session:a`, "broken"]);
  clock.now += 1000;
  const { sessions, corrupt } = await store.reap(1);
  assert.deepEqual([sessions.map(({ id }) => id), corrupt], [["b"], ["a"]]);
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
  const evicting = await server.store({ clock, namespace, rules: { sessionsPerUser: 2, onLimit: "evict" } });
  clock.now += 1;
  const { evicted } = await evicting.create({ user: "ann" });
  assert.deepEqual(evicted, [{ id: "a", connection: "c1", node: "n1" }]);
  const { session: visit } = await evicting.create();
  assert.deepEqual(
    (await evicting.rotate(visit, { user: "ann" })).evicted.map(({ id }) => id),
    ["b"],
  );
});
