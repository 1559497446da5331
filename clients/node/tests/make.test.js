import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { ExistsError, InvalidError, LimitError, OperationId, TakenError } from "../src/index.js";
import { bundle } from "../src/bundle.js";
import { startProxy } from "./support/proxy.js";
import { clockAt, startServer } from "./support/server.js";

const server = await startServer();

const named = (name) => ({ id: name, user: `user-${name}`, connection: `connection-${name}`, attributes: { name } });

test("many sessions are made as each alone", async () => {
  const store = await server.store({ clock: clockAt(Date.now()), rules: { maxLifetimeMs: 3_600_000 } });
  const given = Array.from({ length: 250 }, (_, at) => ({ user: `u${at % 7}`, connection: `c${at}`, ttlMs: 60_000 + at }));
  const made = await store.createMany([named("a"), { ttlMs: 7_200_000 }, { status: "suspended" }, ...given]);
  assert.equal(made.length, 253);
  for (const { session, evicted, reaped } of made) {
    assert.deepEqual([await store.get(session.id), evicted, reaped], [session, [], []]);
  }
  assert.equal(new Set(made.map(({ session }) => session.id)).size, 253);
  assert.deepEqual(await store.createMany([]), []);
});

test("what one is refused for is no matter of the others", async () => {
  const store = await server.store();
  await store.create(named("live"));
  const answers = await store.createMany([
    named("first"),
    { ...named("x"), id: "live" },
    { user: "u".repeat(257) },
    { ...named("y"), connection: "connection-first" },
    named("last"),
  ]);
  const kinds = answers.map((answer) => (answer.session ? answer.session.id : answer.constructor));
  assert.deepEqual(kinds, ["first", ExistsError, InvalidError, TakenError, "last"]);
  const bad = await store.createMany([{ bogus: 1 }, null]);
  assert.ok(bad.every((answer) => answer instanceof InvalidError));
});

test("many are read, refreshed and deleted as each alone", async () => {
  const store = await server.store({ clock: clockAt(Date.now()) });
  const made = await store.createMany(Array.from({ length: 250 }, (_, at) => named(`m${at}`)));
  const sessions = made.map(({ session }) => session);
  await store.rotate("m7", { newId: "new" });
  const ids = [...sessions.map(({ id }) => id), "never", "x".repeat(129)];
  const read = await store.getMany(ids);
  assert.deepEqual([read[0], read[7].id, read[250], read[251].constructor], [sessions[0], "new", null, InvalidError]);
  const refreshed = await store.refreshMany(ids);
  assert.deepEqual([refreshed[249].id, refreshed[7].id, refreshed[250]], ["m249", "new", null]);
  assert.deepEqual((await store.deleteMany(sessions)).map(({ user }) => user), sessions.map(({ user }) => user));
  assert.deepEqual((await store.deleteMany(ids)).slice(0, 251), Array(251).fill(null));
  assert.deepEqual(await store.getMany([]), []);
});

test("a user's limit holds among many, in order", async () => {
  const store = await server.store({ rules: { sessionsPerUser: 2 } });
  const answers = await store.createMany(["a", "b", "c"].map((id) => ({ id, user: "ann" })));
  assert.deepEqual(
    answers.map((answer) => answer instanceof LimitError),
    [false, false, true],
  );
});

// They take as long as a tombstone is kept, at least.
for (const [kind, session, scripts] of [
  ["in later batches", {}, ["create_many", "create_many"]],
  ["alone", { lifetimeMs: 60_000 }, ["create_many", "create", "create", "create"]],
]) {
  test(`sessions that are made ${kind} are made for certain, though the first batch took long`, async () => {
    const proxy = await startProxy(server.port);
    const tombstoneMs = 2000;
    const store = await server.store({ rules: { tombstoneMs } }, proxy.url);
    const sent = [];
    proxy.before = async (request) => {
      sent.push(...["create_many", "create"].filter((stem) => request.includes(bundle.operations[stem].sha1)));
    };
    proxy.reply = async (data, pass) => {
      if (sent.length === 1) await setTimeout(tombstoneMs + 100);
      pass(data);
    };
    const given = [...Array.from({ length: 100 }, () => ({})), ...Array.from({ length: 3 }, () => session)];
    const answers = await store.createMany(given);
    assert.deepEqual(answers.filter((answer) => !answer.session), []);
    assert.deepEqual(sent, scripts);
  });
}

test("the same call again answers the same, and makes nothing more", async () => {
  const store = (await server.store()).withOperationId(new OperationId());
  const given = Array.from({ length: 120 }, (_, at) => ({ user: "ann", connection: `c${at}` }));
  const first = await store.createMany(given);
  assert.deepEqual(await store.createMany(given), first);
  assert.equal(await store.count({ user: "ann" }), 120);
});
