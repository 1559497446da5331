import assert from "node:assert/strict";
import { test } from "node:test";
import { MissingError, TooLargeError } from "../src/index.js";
import { clockAt, startServer } from "./support/server.js";

const server = await startServer();
const HOUR = 3_600_000;

/** A store of so many partitions, and users who are in different ones, if there are several. */
async function storeOf(partitions, rules = {}) {
  const clock = clockAt(Date.now());
  const store = await server.store({ clock, partitions, rules: { maxLifetimeMs: HOUR, ...rules } });
  return { clock, store };
}

for (const partitions of [1, 16]) {
  test(`a login sets the user, the times and the data in one step, of ${partitions}`, async () => {
    const { clock, store } = await storeOf(partitions);
    for (const user of ["ann", "bob", "cy", "dee"]) {
      const { session: visit } = await store.create({
        attributes: { cart: [1], draft: "x" },
        extensions: { csrf: "a", old: 1 },
      });
      clock.now += 1000;
      const { session } = await store.rotate(visit, {
        user,
        ttlMs: 60_000,
        lifetimeMs: 24 * HOUR,
        set: { by: "password" },
        remove: ["draft"],
        setExtensions: { csrf: "b" },
        removeExtensions: ["old"],
      });
      const read = await store.get(session.id);
      assert.deepEqual(read, session);
      assert.deepEqual([read.user, read.ttlMs, read.deadlineMs], [user, 60_000, clock.now + 24 * HOUR]);
      assert.equal(read.expiresAtMs, clock.now + 60_000);
      assert.deepEqual(Object.fromEntries(read.attributes), { cart: "[1]", by: '"password"' });
      assert.deepEqual(Object.fromEntries(read.extensions), { csrf: '"b"' });
    }
  });

  test(`a login begins a lifetime, unless the deadline is to be kept, of ${partitions}`, async () => {
    const { clock, store } = await storeOf(partitions);
    for (const user of ["ann", "bob", "cy", "dee"]) {
      const { session: first } = await store.create();
      const made = clock.now;
      clock.now += 1000;
      const { session: kept } = await store.rotate(first, { user, keepDeadline: true });
      assert.equal(kept.deadlineMs, made + HOUR);
      const { session: same } = await store.rotate(kept);
      assert.equal(same.deadlineMs, made + HOUR);
      const { session: again } = await store.rotate(same, { user: `${user}'s other` });
      assert.equal(again.deadlineMs, clock.now + HOUR);
    }
  });

  test(`a logout keeps what is in the session, of ${partitions}`, async () => {
    const { clock, store } = await storeOf(partitions);
    const { session: mine } = await store.create({ user: "ann", attributes: { cart: [1], name: "Ann" } });
    clock.now += 1000;
    const { session } = await store.rotate(mine, { anonymous: true, remove: ["name"] });
    assert.deepEqual([session.user, session.deadlineMs], [null, clock.now + HOUR]);
    assert.deepEqual([...session.attributes], [["cart", "[1]"]]);
    assert.deepEqual(
      [await store.count({ user: "ann" }), await store.explain(mine.id)],
      [0, { word: "rotated", byLogin: true }],
    );
  });

  test(`a rotation that would make a session too large changes nothing, of ${partitions}`, async () => {
    const { store } = await storeOf(partitions, { sessionBytes: 40 });
    for (const user of [undefined, "ann", "bob", "cy", "dee"]) {
      const { session } = await store.create({ attributes: { a: "x".repeat(20) } });
      await assert.rejects(store.rotate(session, { user, set: { b: "y".repeat(20) } }), TooLargeError);
      assert.deepEqual(await store.get(session.id), session);
    }
  });
}

test("a session has a lifetime of its own, and a patch gives it another", async () => {
  const { clock, store } = await storeOf(1);
  const { session } = await store.create({ lifetimeMs: 5000 });
  assert.deepEqual([session.deadlineMs, session.expiresAtMs], [clock.now + 5000, clock.now + 5000]);
  const many = await store.createMany([{ lifetimeMs: 7000 }, {}]);
  assert.deepEqual(
    many.map((made) => made.session.deadlineMs),
    [clock.now + 7000, clock.now + HOUR],
  );
  clock.now += 1000;
  const patched = await store.patch(session, { lifetimeMs: 9000 });
  assert.deepEqual([patched.lastActiveMs, patched.expiresAtMs], [clock.now, clock.now + 9000]);
  assert.equal((await store.get(session.id)).deadlineMs, clock.now + 9000);
});

test("an idle timeout is extended by every use, which is written once in a while", async () => {
  const clock = clockAt(Date.now());
  const store = await server.store({ clock, rules: { idleTimeoutMs: 600_000 } });
  const { session } = await store.create();
  clock.now += 29_999;
  assert.equal((await store.refresh(session)).changed, false);
  clock.now += 1;
  const { changed, expiresAtMs } = await store.refresh(session);
  assert.deepEqual([changed, expiresAtMs], [true, clock.now + 600_000]);
});

test("a copy in hand takes what a patch came to, if nothing else came between", async () => {
  const { clock, store } = await storeOf(1);
  const { session } = await store.create({ attributes: { a: 1, b: 2 } });
  const other = await store.get(session.id);
  clock.now += 1000;
  const patched = await store.patch(session, {
    set: { a: 3 },
    remove: ["b"],
    setExtensions: { x: [] },
    status: "suspended",
    ttlMs: 60_000,
    lifetimeMs: 120_000,
  });
  assert.equal(session.apply(patched), true);
  assert.deepEqual(session, await store.get(session.id));
  assert.deepEqual([[...session.attributes], [...session.extensions]], [[["a", "3"]], [["x", "[]"]]]);
  // Of what was applied already there is nothing more to do.
  assert.equal(session.apply(patched), false);
  session.set("c", 4);
  await store.update(session);
  assert.equal(session.version, 3);
  assert.equal(other.apply(await store.patch(session, { set: { d: 5 } })), false);
  assert.equal(other.version, 1);
  // Another session takes none, though it is at that version.
  const [one, another] = [await store.create(), await store.create()].map((created) => created.session);
  assert.equal(another.apply(await store.patch(one, { set: { a: 1 } })), false);
  assert.deepEqual(another, await store.get(another.id));
  // What changed nothing tells the times of a copy of its version.
  const unchanged = await store.patch(session.id, { status: "suspended" });
  assert.deepEqual([unchanged.changed, (await store.get(session.id)).apply(unchanged)], [false, true]);
});

test("what became of an id is told", async () => {
  const { clock, store } = await storeOf(1);
  const { session } = await store.create({ ttlMs: 5000 });
  assert.deepEqual(await store.explain(session.id), { word: "live" });
  assert.deepEqual(await store.explain("nobody"), { word: "unknown" });
  const { session: rotated } = await store.rotate(session);
  assert.deepEqual(await store.explain(session.id), { word: "rotated", byLogin: false });
  const { session: mine } = await store.rotate(rotated, { user: "ann" });
  assert.deepEqual(await store.explain(rotated.id), { word: "rotated", byLogin: true });
  const { session: gone } = await store.create();
  await store.delete(gone);
  assert.deepEqual(await store.explain(gone.id), { word: "deleted" });
  const task = Buffer.from("the task");
  const { session: leaving } = await store.create();
  const { untilMs } = await store.freeze(leaving, task, "east");
  await store.depart(leaving, task, untilMs);
  assert.deepEqual(await store.explain(leaving.id), { word: "departed", place: "east" });
  clock.now += 5000;
  assert.deepEqual(await store.explain(mine.id), { word: "expired", atMs: mine.expiresAtMs });
  await assert.rejects(store.patch(mine, { set: { a: 1 } }), MissingError);
  clock.now += 60_000;
  assert.deepEqual(await store.explain(gone.id), { word: "unknown" });
});
