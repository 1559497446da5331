import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import {
  ConflictError,
  ExistsError,
  GoneError,
  InvalidError,
  MissingError,
  MovedError,
  RawJson,
  TakenError,
  TooLargeError,
} from "../src/index.js";
import { whole } from "./support/answers.js";
import { clockAt, startServer } from "./support/server.js";

const server = await startServer();


test("each use keeps what is stored for the grace of the rules, and no longer", async () => {
  const clock = clockAt(Date.now());
  const store = await server.store({ clock, rules: { ttlMs: 10_000, refreshThreshold: 1, graceMs: 1000 } });
  const { session } = await store.create({ user: "ann" });
  const { id } = session;
  const uses = {
    refresh: () => store.refresh(id),
    refreshAndGet: () => store.refreshAndGet(id),
    patch: () => store.patch(id, { set: { a: 1 } }),
    bind: () => store.bind(id, { connection: "c" }),
    update: async () => store.update(await store.get(id)),
  };
  for (const [name, use] of Object.entries(uses)) {
    clock.now += 2000;
    await use();
    const left = await server.admin.sendCommand(["PTTL", `{${store.namespace}:0}:session:${id}`]);
    // Keys go by the server's own clock, and the store's is ahead of it.
    assert.ok(left > 10_000 && left <= 11_000, `${name}: ${left} ms`);
  }
});

test("a created session is read back as it was made", async () => {
  const store = await server.store({ rules: { maxLifetimeMs: 3_600_000 } });
  const { session, evicted, reaped } = await store.create({
    user: "ann",
    connection: "c1",
    node: "n1",
    status: "suspended",
    ttlMs: 60_000,
    attributes: { theme: "dark", none: null, list: [], object: {} },
    extensions: { csrf: "x" },
  });
  assert.match(session.id, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  const read = await store.get(session.id);
  assert.deepEqual(read, session);
  assert.deepEqual([read.user, read.connection, read.node], ["ann", "c1", "n1"]);
  assert.deepEqual([read.status, read.version, read.ttlMs], ["suspended", 1, 60_000]);
  assert.equal(read.expiresAtMs, read.createdAtMs + 60_000);
  assert.equal(read.deadlineMs, read.createdAtMs + 3_600_000);
  assert.deepEqual(
    [...read.attributes],
    [
      ["theme", '"dark"'],
      ["none", "null"],
      ["list", "[]"],
      ["object", "{}"],
    ],
  );
  assert.equal(read.get("none"), null);
  assert.equal(read.get("absent"), undefined);
  assert.equal(read.extensions.get("csrf"), "x");
  assert.deepEqual([evicted, reaped], [[], []]);
});

test("numbers beyond 2^53 stay exact as JSON text, through a patch and an update too", async () => {
  const store = await server.store();
  const { session } = await store.create({ attributes: { big: new RawJson("9007199254740993"), int: 2n ** 64n } });
  await store.patch(session, { set: { float: new RawJson("0.10000000000000000001"), empty: [] } });
  const read = await store.get(session.id);
  read.set("other", {});
  await store.update(read);
  const again = await store.get(session.id);
  assert.equal(again.json("big"), "9007199254740993");
  assert.equal(again.json("int"), "18446744073709551616");
  assert.equal(again.json("float"), "0.10000000000000000001");
  assert.deepEqual([again.json("empty"), again.json("other")], ["[]", "{}"]);
});

test("an update saves a whole session against its version, and the copy takes the new one", async () => {
  const store = await server.store();
  const { session } = await store.create({ user: "ann", connection: "c1", attributes: { a: 1, b: 2 } });
  const old = await store.get(session.id);
  session.user = "bob";
  session.connection = null;
  session.node = "n2";
  session.ttlMs = 60_000;
  session.remove("a");
  await store.update(session);
  assert.deepEqual(await store.get(session.id), session);
  assert.equal(session.version, 2);
  assert.deepEqual([await store.count({ user: "ann" }), await store.count({ user: "bob" })], [0, 1]);
  assert.equal(await store.sessionByConnection("c1"), null);
  assert.equal(await store.count({ node: "n2" }), 1);
  await assert.rejects(store.update(old), (error) => error instanceof ConflictError && error.version === 2);
});

test("a patch changes what it names, at the version it expects", async () => {
  const store = await server.store();
  const { session } = await store.create({ attributes: { a: 1, b: 2 }, extensions: { x: 1 } });
  const patched = await store.patch(session.id, {
    set: { c: 3 },
    remove: ["a"],
    setExtensions: { y: 2 },
    removeExtensions: ["x"],
    status: "suspended",
    ttlMs: 90_000,
    version: 1,
  });
  assert.deepEqual([patched.id, patched.version, patched.changed], [session.id, 2, true]);
  const read = await store.get(session.id);
  assert.deepEqual(
    [...read.attributes],
    [
      ["b", "2"],
      ["c", "3"],
    ],
  );
  assert.deepEqual([...read.extensions], [["y", "2"]]);
  assert.deepEqual([read.status, read.ttlMs, read.expiresAtMs], ["suspended", 90_000, patched.expiresAtMs]);
  assert.equal((await store.patch(session.id, { status: "suspended" })).changed, false);
  await assert.rejects(store.patch(session.id, { set: { c: 4 }, version: 1 }), ConflictError);
});

test("a refresh extends, and returns the session in the same trip", async () => {
  const clock = clockAt(Date.now());
  const store = await server.store({ clock, rules: { ttlMs: 10_000 } });
  const { session } = await store.create();
  clock.now += 6000;
  const refreshed = await store.refresh(session);
  assert.deepEqual([refreshed.expiresAtMs, refreshed.lastActiveMs], [clock.now + 10_000, clock.now]);
  clock.now += 6000;
  const read = await store.refreshAndGet(session.id);
  assert.deepEqual([read.id, read.expiresAtMs], [session.id, clock.now + 10_000]);
  clock.now += 10_000;
  assert.equal(await store.refresh(session), null);
  assert.equal(await store.refreshAndGet(session), null);
  assert.equal(await store.get(session.id), null);
});

test("a refresh within the touch interval is a read", async () => {
  const clock = clockAt(Date.now());
  const store = await server.store({ clock, rules: { ttlMs: 10_000, touchIntervalMs: 1000 } });
  let { session } = await store.create();
  const scripts = async (call) => {
    const before = await server.calls("evalsha");
    const answer = await call();
    return [(await server.calls("evalsha")) - before, answer];
  };
  const madeAt = clock.now;
  for (const used of [-999, 0, 999]) {
    clock.now = madeAt + used;
    assert.deepEqual(await scripts(() => store.refreshAndGet(session)), [0, session]);
    const { version, lastActiveMs, expiresAtMs } = session;
    const unchanged = { version, lastActiveMs, expiresAtMs, changed: false };
    for (const target of [session, session.id]) {
      const [count, { id, ...refreshed }] = await scripts(() => store.refresh(target).then(whole));
      assert.deepEqual([count, id, refreshed], [0, session.id, unchanged]);
    }
  }
  clock.now = madeAt + 1000;
  const [count, refreshed] = await scripts(() => store.refresh(session.id));
  assert.deepEqual([count, refreshed.changed, refreshed.lastActiveMs], [1, true, clock.now]);
  session = await store.get(session.id);
  assert.equal((await scripts(() => store.refresh(session)))[0], 0);

  const { session: short } = await store.create({ ttlMs: 1500 });
  clock.now += 499;
  assert.equal((await scripts(() => store.refresh(short.id)))[0], 0);
  clock.now += 1;
  assert.equal((await scripts(() => store.refresh(short.id)))[0], 1, "a touch interval more would be its end");
  await store.delete(short);
  assert.deepEqual(await scripts(() => store.refreshAndGet(short.id)), [0, null]);
});

test("a rotated session has a new id, and the old one leads to it", async () => {
  const store = await server.store();
  const { session } = await store.create({ user: "ann", attributes: { a: 1 } });
  const { session: rotated, byAnother } = await store.rotate(session, { newId: "new" });
  assert.deepEqual([rotated.id, rotated.version, rotated.get("a"), byAnother], ["new", 2, 1, false]);
  assert.deepEqual(await store.get(session.id), rotated);
  assert.equal((await store.patch(session, { set: { a: 2 } })).id, "new");
  const second = await store.rotate(session.id);
  assert.deepEqual([second.session.id, second.byAnother], ["new", true]);
  await assert.rejects(
    store.create({ id: session.id }),
    (error) => error instanceof MovedError && error.newId === "new",
  );
});

test("a login makes the session its user's, and the old id leads nowhere", async () => {
  const store = await server.store();
  const { session } = await store.create();
  const { session: mine } = await store.rotate(session.id, { user: "ann" });
  assert.equal(mine.user, "ann");
  // Who planted the id learns no more than that there is a newer one.
  const isLeft = (error) => error instanceof MovedError && error.newId === null;
  await assert.rejects(store.get(session.id), isLeft);
  await assert.rejects(store.refresh(session.id), isLeft);
  await assert.rejects(store.refreshAndGet(session.id), isLeft);
  await assert.rejects(store.rotate(session.id), isLeft);
  assert.deepEqual((await store.deleteUser("eve", { keep: session.id })).removed, []);
});

test("a connection is bound, taken over and detached", async () => {
  const store = await server.store();
  const [ann, bob] = [(await store.create({ id: "a" })).session, (await store.create({ id: "b" })).session];
  const bound = await store.bind(ann.id, { connection: "c1", node: "n1" });
  assert.deepEqual([bound.version, bound.previousConnection, bound.takenFrom, bound.changed], [2, null, null, true]);
  assert.equal((await store.sessionByConnection("c1")).id, "a");
  const refused = store.bind(bob, { connection: "c1" });
  await assert.rejects(refused, (error) => error instanceof TakenError && error.holderId === "a");
  assert.equal((await store.bind(bob, { connection: "c1", node: "n2", takeOver: true })).takenFrom, "a");
  assert.equal((await store.sessionByConnection("c1")).id, "b");
  assert.equal(await store.unbind(ann, "c1"), "notBound");
  assert.equal(await store.unbind("b", "c1"), "detached");
  assert.equal(await store.unbind("nobody", "c1"), "missing");
  assert.deepEqual([(await store.get("b")).status, await store.count({ node: "n2" })], ["suspended", 0]);
});

test("a deleted session is gone with its entries, and its id is refused for a while", async () => {
  const store = await server.store();
  const { session } = await store.create({ user: "ann", connection: "c1", node: "n1" });
  const { id, user, connection, node } = await store.delete(session.id);
  assert.deepEqual([id, user, connection, node], [session.id, "ann", "c1", "n1"]);
  assert.equal(await store.delete(session.id), null);
  assert.deepEqual([await store.get(session.id), await store.sessionByConnection("c1")], [null, null]);
  assert.equal(await store.count({ user: "ann" }), 0);
  await assert.rejects(store.create({ id: session.id }), GoneError);
  await assert.rejects(store.patch(session.id, { set: { a: 1 } }), MissingError);
});

test("a session is exported and imported into another namespace", async () => {
  const [from, to] = [await server.store(), await server.store()];
  const { session } = await from.create({ user: "ann", connection: "c1", attributes: { big: 2n ** 60n + 1n } });
  await from.patch(session, { set: { a: 1 } });
  const exported = await from.export(session.id);
  assert.equal(await to.import(exported), "imported");
  assert.equal(await to.import(exported, { replaces: "nothing" }), "unchanged");
  assert.deepEqual(await to.get(session.id), exported.session);
  assert.equal((await to.sessionByConnection("c1")).json("big"), "1152921504606846977");
  await from.patch(session, { set: { a: 2 } });
  const later = await from.export(session.id);
  await assert.rejects(to.import(later, { replaces: "nothing" }), ConflictError);
  await assert.rejects(to.import(later, { replaces: 1 }), ConflictError);
  assert.equal(await to.import(later, { replaces: 2 }), "imported");
  assert.equal(await to.import(await from.export(session.id), { replaces: "older" }), "unchanged");
  assert.equal(await from.export("nobody"), null);
  await from.create({ id: "other" });
  assert.equal(await to.import(await from.export("other"), { replaces: 1 }), "missing");
});

test("bad input is refused before anything is sent", async () => {
  const store = await server.store({ rules: { valueBytes: 10, sessionBytes: 27 } });
  const { session } = await store.create({ id: "a" });
  await assert.rejects(store.create({ id: "a" }), ExistsError);
  await assert.rejects(store.create({ attributes: { a: "123456", b: "123456" } }), TooLargeError);
  const bad = [
    () => store.create({ id: "" }),
    () => store.create({ id: "x".repeat(129) }),
    () => store.create({ user: "x".repeat(257) }),
    () => store.create({ user: "\ud800" }),
    () => store.create({ usr: "ann" }),
    () => store.create({ ttlMs: 0 }),
    () => store.create({ status: "migrating" }),
    () => store.create({ attributes: { "": 1 } }),
    () => store.create({ attributes: { a: undefined } }),
    () => store.create({ attributes: { a: "x".repeat(20) } }),
    () => store.patch(session, { version: "1" }),
    () => store.bind(session, { connection: "" }),
    () => store.list({ users: "ann" }),
    () => store.list({ user: "ann" }, { size: 501 }),
    () => store.reap(0),
    () => store.get(7),
    () => store.update({ ...session }),
    () => server.store({ namespace: "a{b" }),
    () => server.store({ rules: { tll: 1 } }),
  ];
  for (const call of bad) await assert.rejects(call, InvalidError, String(call));
});

test("any text is legal in a name", async () => {
  const store = await server.store();
  for (const user of ["a:b", "{ns:p}", "<id>", "ü\u{1f9e5}", "\ufeffx", " ", "$&"]) {
    const { session } = await store.create({ user });
    assert.equal((await store.get(session.id)).user, user);
    assert.deepEqual((await store.list({ user })).sessions, [session]);
  }
});

test("a session shows neither its id nor its data when it is printed", async () => {
  const store = await server.store();
  const { session } = await store.create({ id: "secret-id", attributes: { key: "secret-value" } });
  const shown = inspect({ session }, { depth: 9 });
  assert.match(shown, /Session \{ *\n? *id: '#[0-9a-f]{8}'/);
  assert.doesNotMatch(shown, /secret/);
});
