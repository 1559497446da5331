import assert from "node:assert/strict";
import { test } from "node:test";
import {
  AmbiguousError,
  Cloakroom,
  ContendedError,
  ContractError,
  CorruptError,
  NotExecutedError,
  OperationId,
} from "../src/index.js";
import { bundle } from "../src/bundle.js";
import { load } from "../src/contract.js";
import { settle } from "../src/declared.js";
import { Partitions } from "../src/partitions.js";
import { Silence } from "../src/silence.js";
import { clockAt, startServer } from "./support/server.js";
import { eventually } from "./support/cluster.js";
import { startProxy } from "./support/proxy.js";

const server = await startServer();
const redis = (...args) => server.admin.sendCommand(args);

test("a flushed script cache is invisible to callers", async () => {
  const store = await server.store();
  await redis("SCRIPT", "FLUSH");
  const { session } = await store.create({ user: "ann" });
  await redis("SCRIPT", "FLUSH");
  const calls = Array.from({ length: 20 }, (_, at) => store.patch(session.id, { set: { [at]: at } }));
  await Promise.all(calls);
  const read = await store.get(session.id);
  assert.deepEqual([read.attributes.size, read.version], [20, 21]);
});

test("a script that is flushed again and again is loaded until the deadline", async () => {
  const store = server.flushed(20, new Partitions("flushed", 1));
  await redis("SCRIPT", "FLUSH");
  assert.equal((await store.create({ user: "ann" })).session.version, 1);
});

test("a store loads the scripts that it calls, and no others", async () => {
  await redis("SCRIPT", "FLUSH");
  await server.store();
  const stems = Object.keys(bundle.operations);
  const loaded = await redis("SCRIPT", "EXISTS", ...stems.map((stem) => bundle.operations[stem].sha1));
  const others = stems.filter((_, at) => !loaded[at]);
  assert.deepEqual(others, ["get", "mend_key", "mend_node", "mend_record", "mend_session"]);
});

test("a store starts though its scripts are flushed after it loaded them", async () => {
  let flushes = 0;
  const sendToOwner = async (commands) => {
    const replies = [];
    for (const command of commands) {
      if (command[0] === "EVALSHA" && flushes++ < 2) await redis("SCRIPT", "FLUSH");
      replies.push(await redis(...command).catch((error) => error));
    }
    return replies;
  };
  await load({ at: () => ({ sendToOwner }) }, "{t:0}", Infinity);
  assert.equal(flushes, 3);
});

test("a call whose reply was lost is sent again, and happens once", async () => {
  const proxy = await startProxy(server.port);
  const store = await server.store({}, proxy.url);
  let left = 1;
  proxy.cuts = (request) => request.includes("EVALSHA") && left-- > 0;
  const { session } = await store.create({ user: "ann" });
  left = 3;
  const { version, changed } = await store.patch(session, { set: { a: 1 } });
  assert.deepEqual([proxy.cut, version, changed], [4, 2, true]);
  assert.equal(await store.count({ user: "ann" }), 1);
  left = 1;
  assert.equal((await store.delete(session)).user, "ann");
});

test("a lost list of reaped sessions is told, and the call is not sent again by itself", async () => {
  const proxy = await startProxy(server.port);
  const clock = clockAt(Date.now());
  const store = await server.store({ clock, rules: { ttlMs: 1000 } }, proxy.url);
  await store.create({ id: "a" });
  clock.now += 1000;
  // The reply to the script that expires nothing passes; the one to the reap behind the reading does not.
  proxy.cuts = (request) => request.includes("EVALSHA") && request.includes(":session:a");
  await assert.rejects(store.reap(), AmbiguousError);
  assert.equal(proxy.cut, 1);
  proxy.cuts = () => false;
  assert.deepEqual((await store.reap()).sessions, []);
});

test("an ambiguous call is repeated under its operation id, and answers the same", async () => {
  const proxy = await startProxy(server.port);
  const store = await server.store();
  const hurried = await server.hurried(300, proxy.url, store.namespace);
  proxy.cuts = (request) => request.includes("EVALSHA");
  const error = await hurried.create({ user: "ann" }).catch((thrown) => thrown);
  assert.ok(error instanceof AmbiguousError);
  const { session } = await store.withOperationId(error.operationId).create({ user: "ann" });
  assert.deepEqual((await store.list({ user: "ann" })).sessions, [session]);
});

test("while the server hangs, a write is ambiguous and a read is not executed", async () => {
  const proxy = await startProxy(server.port);
  const store = await server.store();
  const { session } = await store.create();
  const hurried = await server.hurried(100, proxy.url, store.namespace);
  // Nothing gets through any more.
  proxy.before = () => new Promise(() => {});
  const [write, read] = await Promise.allSettled([hurried.delete(session), hurried.get(session.id)]);
  assert.ok(write.reason instanceof AmbiguousError);
  assert.ok(read.reason instanceof NotExecutedError);
  assert.equal(read.reason.reason, "deadline");
  await proxy.stop();
});

/** A session, and a store of little patience whose connection can be made to lead nowhere. */
async function throughAProxy() {
  const proxy = await startProxy(server.port);
  const patient = await server.store();
  const { session } = await patient.create();
  const store = await server.hurried(200, proxy.url, patient.namespace);
  const isServed = () => store.get(session.id).then(Boolean, () => false);
  await eventually(isServed);
  return { proxy, store, session, isServed };
}

// It takes the second for which a connection may be silent.
test("calls go on over another connection where theirs leads nowhere", async () => {
  const { proxy, isServed } = await throughAProxy();
  proxy.swallow();
  await eventually(isServed);
});

// The same.
test("a new connection on which nobody answers is given up, too", async () => {
  const { proxy, store, session, isServed } = await throughAProxy();
  const { connections } = proxy;
  proxy.before = () => new Promise(() => {});
  proxy.cutAll();
  await eventually(() => store.get(session.id).catch(() => proxy.connections > connections + 1));
  proxy.before = async () => {};
  await eventually(isServed);
});

test("a connection is silent where something is awaited and nothing came for a second", () => {
  const clock = clockAt(0);
  const silence = new Silence(clock);
  const after = (ms) => {
    clock.now += ms;
    return silence.isTooLong;
  };
  // While there is no connection, nothing can come.
  silence.awaits();
  assert.equal(after(5000), false);
  silence.connected();
  assert.deepEqual([after(999), after(1)], [false, true]);
  silence.ready();
  assert.deepEqual([after(900), silence.heard(), after(900)], [false, undefined, false]);
  // Where nothing is awaited, nothing has to come.
  silence.awaits();
  silence.awaitsNoMore();
  silence.awaitsNoMore();
  assert.equal(after(5000), false);
  silence.awaits();
  assert.equal(after(999), false);
  silence.awaits();
  assert.equal(after(1), true);
  silence.disconnected();
  assert.equal(after(5000), false);
});

test("a store whose server is silent is closed once its calls have ended", async () => {
  const { proxy, store, session } = await throughAProxy();
  proxy.swallow();
  await assert.rejects(store.get(session.id), NotExecutedError);
  const call = assert.rejects(store.delete(session), AmbiguousError);
  await eventually(() => proxy.swallowed >= 2);
  await store.close();
  await call;
});

test("a call that may have happened stays ambiguous while its server is away", async () => {
  const proxy = await startProxy(server.port);
  const patient = await server.store();
  const { session } = await patient.create({ user: "ann" });
  const store = await server.hurried(100, proxy.url, patient.namespace);
  await proxy.stop();
  const again = store.withOperationId(new OperationId().ofARepeat());
  for (const call of [
    () => again.create(),
    () => again.patch(session, { set: { a: 1 } }),
    () => again.refresh(session.id),
    () => again.refreshAndGet(session.id),
    () => again.rotate(session),
    () => again.delete(session),
    () => again.deleteUser("ann"),
    () => again.deleteUser("ann", { keep: session.id }),
    () => again.recover("dead", "live"),
  ]) {
    await assert.rejects(call, AmbiguousError, call.toString());
  }
  // Reads are no matter of doubt.
  await assert.rejects(again.get(session.id), NotExecutedError);
});

test("without a server nothing is executed, and a start fails in time", async () => {
  const proxy = await startProxy(server.port);
  const store = await server.hurried(100, proxy.url);
  await proxy.stop();
  await assert.rejects(store.get("a"), NotExecutedError);
  const write = await store.create().catch((error) => error);
  assert.deepEqual([write.constructor, write.reason], [NotExecutedError, "deadline"]);
  const start = await Cloakroom.connect(proxy.url, { deadlineMs: 1000 }).catch((error) => error);
  assert.deepEqual([start.constructor, start.reason], [NotExecutedError, "connection"]);
  assert.equal(start.cause.code, "ECONNREFUSED");
  await store.close();
  const closed = await store.create().catch((error) => error);
  assert.equal(closed.reason, "closed");
});

test("an error of the server means not executed, and keeps its cause", async () => {
  const store = await server.store();
  await redis("CONFIG", "SET", "maxmemory", "1");
  const error = await store.create().catch((thrown) => thrown);
  await redis("CONFIG", "SET", "maxmemory", "0");
  assert.deepEqual([error.constructor, error.reason], [NotExecutedError, "server"]);
  assert.match(error.cause.message, /^OOM/);
});

test("a bare id takes one round more than a session in hand", async () => {
  const store = await server.store();
  const { session } = await store.create({ user: "ann", connection: "c1", node: "n1" });
  await redis("CONFIG", "RESETSTAT");
  const { session: rotated } = await store.rotate(session);
  assert.equal(await server.calls("evalsha"), 1);
  await store.rotate(rotated.id);
  assert.equal(await server.calls("evalsha"), 3);
});

test("expired sessions in the way are reaped and handed out", async () => {
  const clock = clockAt(Date.now());
  const store = await server.store({ clock, rules: { ttlMs: 1000 } });
  await store.create({ id: "a", connection: "c1", attributes: { left: "over" } });
  const { session: other } = await store.create({ id: "b", ttlMs: 60_000 });
  clock.now += 1000;
  const { reaped } = await store.bind(other, { connection: "c1" });
  assert.deepEqual(
    reaped.map((session) => [session.id, session.get("left")]),
    [["a", "over"]],
  );
  await store.create({ id: "c", ttlMs: 1000 });
  clock.now += 1000;
  const again = await store.create({ id: "c" });
  assert.deepEqual(
    again.reaped.map(({ id }) => id),
    ["c"],
  );
});

test("a user far above the limit is brought near it by batches", async () => {
  const namespace = server.namespace();
  // 1,300 calls at once, each of which has to be done within its own deadline.
  const deadlineMs = 60_000;
  const store = await server.store({ namespace, deadlineMs });
  await Promise.all(Array.from({ length: 1300 }, () => store.create({ user: "ann" })));
  const limited = await server.store({ namespace, deadlineMs, rules: { sessionsPerUser: 5, onLimit: "evictOldest" } });
  const { session, evicted } = await limited.create({ user: "ann" });
  assert.equal(new Set(evicted.map(({ id }) => id)).size, 1296);
  const { sessions } = await limited.list({ user: "ann" });
  assert.equal(sessions.length, 5);
  assert.ok(sessions.some(({ id }) => id === session.id));
});

test("what keeps changing ends in an error, not in a spin", async () => {
  let runs = 0;
  const need = { kind: "routing", fields: ["user"], set: ["user"] };
  const run = async () => ({ word: "need", need, user: `user-${(runs += 1)}`, rest: [] });
  await assert.rejects(settle({ run, enter() {}, checkSure() {} }, "delete", { id: "a" }), ContendedError);
  assert.equal(runs, 128);
});

test("an id that was rotated away is followed once, and no further", async () => {
  const asked = [];
  const run = async (_, { id }) => {
    asked.push(id);
    return { word: "moved", new_id: `${id}+`, rest: [] };
  };
  const { reply } = await settle({ run, enter() {}, checkSure() {} }, "patch", { id: "a" });
  assert.deepEqual([asked, reply.word], [["a", "a+"], "missing"]);
});

test("a foreign type under a key is corrupt, and names the key", async () => {
  const store = await server.store();
  const tag = `{${store.namespace}:0}`;
  await redis("LPUSH", `${tag}:session:a`, "x");
  await redis("SET", `${tag}:user:ann:sessions`, "x");
  await redis("LPUSH", `${tag}:connection:c1:session`, "x");
  await redis("SET", `${tag}:connection:c2:session`, Buffer.from([0xff]));
  const what = (call) => call.then(assert.fail, (error) => [error.constructor, error.what]);
  assert.deepEqual(await what(store.get("a")), [CorruptError, "record"]);
  assert.deepEqual(await what(store.create({ id: "a" })), [CorruptError, "record"]);
  assert.deepEqual(await what(store.create({ user: "ann" })), [CorruptError, "user"]);
  assert.deepEqual(await what(store.list({ user: "ann" })), [CorruptError, "owner"]);
  assert.deepEqual(await what(store.sessionByConnection("c1")), [CorruptError, "connection"]);
  assert.deepEqual(await what(store.sessionByConnection("c2")), [CorruptError, "connection"]);
});

test("the first client notes the contract, and a later contract keeps a client from starting", async () => {
  const store = await server.store();
  const key = `{${store.namespace}:0}:contract`;
  assert.equal(await redis("GET", key), "1");
  const tenYears = 10 * 365 * 24 * 3600 * 1000;
  assert.ok((await redis("PTTL", key)) > tenYears - 60_000);
  await redis("PEXPIRE", key, "1000");
  await server.store({ namespace: store.namespace });
  assert.ok((await redis("PTTL", key)) > tenYears - 60_000);
  await redis("SET", key, "2");
  const refused = await server.store({ namespace: store.namespace }).catch((error) => error);
  assert.deepEqual([refused.constructor, refused.found, refused.known], [ContractError, 2, 1]);
  assert.match(refused.message, /the namespace is at contract 2, this client knows contract 1/);
  for (const foreign of ["x", "0", Buffer.from([0xff])]) {
    await redis("SET", key, foreign);
    await assert.rejects(server.store({ namespace: store.namespace }), CorruptError);
  }
});
