import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { CorruptError, ForbiddenError, InvalidError, NodeIdentity } from "../src/index.js";
import { Partitions } from "../src/partitions.js";
import { clockAt, startServer } from "./support/server.js";
import { eventually } from "./support/cluster.js";
import { startProxy } from "./support/proxy.js";

const server = await startServer();
const redis = (...args) => server.admin.sendCommand(args.map(String));

/** A store in a namespace that has events. */
async function telling(partitions, options = {}, url = server.url) {
  const namespace = server.namespace();
  await redis("SET", `{${namespace}:0}:contract`, `1 ${partitions} 1000`);
  return server.store({ ...options, namespace }, url);
}

/** The next events of a stream. */
async function take(events, count) {
  const taken = [];
  while (taken.length < count) taken.push((await events.next()).value);
  return taken;
}

const idsOf = (events) => events.map(({ id }) => id);
const wordsOf = ({ what, why }) => `${what} ${why}`.trim();
const LAGGED = { what: "lagged", partition: 0 };

/** Writes an entry as a script does, but for some fields. */
async function put(store, fields, place = "*") {
  const whole = { what: "created", why: "", id: "s", user: "", connection: "", node: "", version: "1", ...fields };
  return redis("XADD", `{${store.namespace}:0}:events`, place, ...Object.entries(whole).flat());
}

/** The events of a stream, each by its fields that are not empty. */
async function stored(key) {
  const entries = await server.admin.sendCommand(["XRANGE", key, "-", "+"]);
  return entries.map(([, fields]) => {
    const texts = fields.map(String);
    const pairs = texts.filter((_, at) => at % 2 === 0).map((name, at) => [name, texts[2 * at + 1]]);
    return Object.fromEntries(pairs.filter(([, value]) => value !== ""));
  });
}

for (const count of [1, 16]) {
  test(`a store tells what it changes where its namespace of ${count} has events`, async () => {
    const store = await telling(count);
    const partitions = new Partitions(store.namespace, count);
    const { session } = await store.create({ user: "ann", connection: "c", node: "n" });
    await store.patch(session, { set: { a: 1 } });
    await store.deleteUser("ann");
    const tag = partitions.tags[partitions.of("ann")];
    const names = { id: session.id, user: "ann", connection: "c", node: "n" };
    const expected = [
      { what: "begun", version: "0" },
      { what: "created", version: "1", ...names },
      { what: "ended", why: "deleted", version: "3", ...names },
    ];
    for (const stream of ["events", "node:n:events"]) assert.deepEqual(await stored(`${tag}:${stream}`), expected);
    for (const each of partitions.tags) assert.equal(await redis("GET", `${each}:contract`), `1 ${count} 1000`);
  });

  test(`every kind of event is read, of ${count}`, async () => {
    const clock = clockAt(Date.now());
    const store = await telling(count, { clock, rules: { sessionsPerUser: 1, onLimit: "evictOldest" } });
    const told = await store.events("beginning");
    assert.deepEqual((await store.reap()).sessions, []);
    const expected = {};
    const { session: one } = await store.create({ user: "ann", connection: "c", node: "n" });
    await store.bind(one, { connection: "d", node: "n" });
    await store.unbind(one.id, "d");
    await store.bind(one.id, { connection: "d", node: "n" });
    const copy = await store.get(one.id);
    copy.status = "suspended";
    await store.update(copy);
    const { session: rotated } = await store.rotate(copy);
    expected[one.id] = ["created", "bound", "unbound", "bound", "updated", "rotated"];
    expected[rotated.id] = ["ended evicted"];
    const { session: second } = await store.create({ user: "ann" });
    await store.delete(second);
    expected[second.id] = ["created", "ended deleted"];
    const { session: visitor } = await store.create();
    const { session: login } = await store.rotate(visitor, { user: "bob" });
    const partitions = new Partitions("x", count);
    const livesApart = partitions.of(visitor.id) !== partitions.of("bob");
    expected[visitor.id] = ["created", livesApart ? "ended login" : "rotated login"];
    expected[login.id] = [...(livesApart ? ["arrived"] : []), "ended expired"];
    const task = Buffer.from("the task");
    const { session: leaving } = await store.create();
    const { untilMs } = await store.freeze(leaving, task, "east");
    assert.ok(await store.depart(leaving, task, untilMs));
    expected[leaving.id] = ["created", "departed"];
    const other = await server.store({ clock });
    const away = await other.export((await other.create({ id: store.newId() })).session.id);
    await store.import(away);
    expected[away.session.id] = ["arrived", "ended expired"];
    const all = Object.values(expected).flat().length;
    const found = await take(told, all - 2);
    clock.now += 10_000_000;
    while ((await store.reap()).more);
    found.push(...(await take(told, 2)));
    const byId = Object.groupBy?.(found, ({ id }) => id) ?? groupById(found);
    for (const [id, words] of Object.entries(expected)) assert.deepEqual(byId[id].map(wordsOf), words);
    const [, bound] = byId[one.id];
    assert.deepEqual([bound.user, bound.connection, bound.node, bound.version, bound.newId], ["ann", "d", "n", 2, null]);
    assert.equal(byId[one.id].at(-1).newId, rotated.id);
    assert.equal(byId[visitor.id].at(-1).newId, login.id);
    const shown = inspect(found, { depth: 9 }) + JSON.stringify(found);
    for (const id of Object.keys(expected)) assert.ok(!shown.includes(id));
    await told.close();
  });

  test(`a gateway reads what concerns its node, of ${count}`, async () => {
    const store = await telling(count);
    await store.heartbeat(new NodeIdentity("other"), { want: "register" });
    const told = await store.eventsOfNode("n");
    const { session } = await store.create({ user: "ann", connection: "c", node: "n" });
    await store.create({ user: "bob", connection: "e", node: "m" });
    assert.deepEqual(idsOf((await store.recover("n", "other", { evenIfLeased: true })).sessions), [session.id]);
    await store.delete(session.id);
    const found = await take(told, 2);
    assert.deepEqual(found.map(wordsOf), ["created", "recovered"]);
    assert.equal(found[1].node, "other");
    for (const bad of ["", undefined, "x".repeat(257)]) await assert.rejects(store.eventsOfNode(bad), InvalidError);
    await told.close();
  });

  test(`from now on tells nothing of before, and a position goes on, of ${count}`, async () => {
    const store = await telling(count);
    const { session: before } = await store.create({ user: "ann" });
    const told = await store.events();
    const made = [];
    for (let number = 0; number < 20; number++) made.push((await store.create({ user: `user-${number}` })).session.id);
    const first = idsOf(await take(told, 8));
    // What was read already and not told yet is told again behind the position.
    const again = await store.events(told.position);
    assert.deepEqual([...first, ...idsOf(await take(again, 12))].sort(), [...made].sort());
    const begun = await store.events(",".repeat(count - 1));
    assert.deepEqual(idsOf(await take(begun, 21)).sort(), [before.id, ...made].sort());
    for (const bad of ["x", "1", "1-", "1-2-3", "-1", `1-1${",".repeat(count)}`, "²-1", 7, null]) {
      await assert.rejects(store.events(bad), InvalidError);
    }
    await assert.rejects(store.events("now", { every: 7 }), InvalidError);
    await Promise.all([told, again, begun].map((events) => events.close()));
  });
}

function groupById(events) {
  const groups = {};
  for (const event of events) (groups[event.id] ??= []).push(event);
  return groups;
}

test("a namespace without events has none to read", async () => {
  const store = await server.store();
  await store.create();
  await assert.rejects(store.events(), /not turned on/);
});

test("who falls behind the trim is told so", async () => {
  const store = await telling(1);
  const key = `{${store.namespace}:0}:events`;
  const told = await store.events();
  const { session: first } = await store.create({ user: "ann" });
  assert.deepEqual(idsOf(await take(told, 1)), [first.id]);
  const { position } = told;
  const { session: second } = await store.create({ user: "ann" });
  await redis("XTRIM", key, "MAXLEN", "=", 1);
  const isTold = async (events) => {
    const [lagged, next] = await take(events, 2);
    assert.deepEqual([lagged, next.id], [LAGGED, second.id]);
  };
  await isTold(told);
  // A position too, and what is kept does not begin at the beginning.
  for (const from of [position, "beginning"]) await isTold(await store.events(from));
  // What comes when nothing is left begins anew.
  await redis("DEL", key);
  assert.deepEqual([await take(told, 1), told.position], [[LAGGED], ""]);
  const { session: third } = await store.create({ user: "ann" });
  assert.deepEqual(idsOf(await take(told, 1)), [third.id]);
});

test("what is told and trimmed while the caller reads its sessions anew is not missed in silence", async () => {
  const store = await telling(1);
  const key = `{${store.namespace}:0}:events`;
  // More is told than is kept: only the last of it.
  const fallBehind = async () => {
    const made = [await store.create(), await store.create(), await store.create()];
    await redis("XTRIM", key, "MAXLEN", "=", 1);
    return made.at(-1).session.id;
  };
  const told = await store.events();
  await store.create();
  await take(told, 1);
  const second = await fallBehind();
  assert.deepEqual(await take(told, 1), [LAGGED]);
  const last = await fallBehind();
  const [kept, lagged, next] = await take(told, 3);
  assert.deepEqual([kept.id, lagged, next.id], [second, LAGGED, last]);
  // The same where nothing was left: what comes then begins with `begun`, or some was missed.
  await redis("DEL", key);
  assert.deepEqual(await take(told, 1), [LAGGED]);
  const newest = await fallBehind();
  const [again, end] = await take(told, 2);
  assert.deepEqual([again, end.id], [LAGGED, newest]);
});

test("an entry to which another master gave the same place was not read", async () => {
  const store = await telling(1);
  const told = await store.events();
  await store.create();
  await take(told, 1);
  await redis("DEL", `{${store.namespace}:0}:events`);
  await put(store, {}, told.position);
  const [lagged, next] = await take(told, 2);
  assert.deepEqual([lagged, next.id], [LAGGED, "s"]);
});

test("what tells nothing of ours is passed over", async () => {
  const store = await telling(1);
  const told = await store.events();
  await put(store, { what: "begun" });
  for (const odd of [{ what: "danced" }, { id: "" }, { version: "x" }, { what: "ended", why: "?" }, { what: "rotated" }]) {
    await put(store, odd);
  }
  await server.admin.sendCommand(["XADD", `{${store.namespace}:0}:events`, "*", "what", Buffer.from([0xff])]);
  await put(store, { id: "last", later: "word" });
  assert.deepEqual(idsOf(await take(told, 1)), ["last"]);
});

test("a cut connection, a flush of scripts and an outage end no stream", async () => {
  const proxy = await startProxy(server.port);
  const store = await telling(16, {}, proxy.url);
  const told = await store.events("now", { intervalMs: 1 });
  const made = [];
  for (let number = 0; number < 6; number++) {
    made.push((await store.create({ user: `user-${number}` })).session.id);
    await redis("SCRIPT", "FLUSH");
    proxy.cutAll();
  }
  assert.deepEqual(idsOf(await take(told, 6)).sort(), made.sort());
});

/** A store in a namespace that has events, over connections that can be made to lead nowhere. */
async function throughAProxy() {
  const proxy = await startProxy(server.port);
  const { namespace } = await telling(1);
  return { proxy, namespace, store: await server.hurried(1000, proxy.url, namespace) };
}

// It takes the second for which a connection may be silent.
test("a reader goes on over another connection where its own leads nowhere", async () => {
  const { proxy, namespace, store } = await throughAProxy();
  const there = await server.store({ namespace });
  const told = await store.events("now", { intervalMs: 1 });
  const { session: first } = await there.create();
  assert.deepEqual(idsOf(await take(told, 1)), [first.id]);
  proxy.swallow();
  const { session: second } = await there.create();
  assert.deepEqual(idsOf(await take(told, 1)), [second.id]);
  await told.close();
});

test("nobody who ends a reader, leaves its loop or closes its store waits for a server that is silent", async () => {
  const { proxy, namespace, store } = await throughAProxy();
  const there = await server.store({ namespace });
  const [closed, left, last] = [await store.events(), await store.events("beginning"), await store.events()];
  await there.create();
  for await (const event of left) {
    assert.equal(event.what, "created");
    proxy.swallow();
    break;
  }
  const waits = [closed, last].map((events) => events.next());
  await eventually(() => proxy.swallowed >= 2);
  await closed.return();
  await store.close();
  for (const one of waits) assert.equal((await one).done, true);
});

for (const forbidden of [[], ["-role"]]) {
  test(`what only a demoted master has is not told, to who may do all but ${forbidden}`, async () => {
    const own = await startServer();
    const admin = (...command) => own.admin.sendCommand(command);
    const namespace = "demoted";
    const key = `{${namespace}:0}:events`;
    await admin("SET", `{${namespace}:0}:contract`, "1 1 1000");
    await admin("ACL", "SETUSER", "reader", "on", "nopass", "~*", "+@all", ...forbidden);
    const store = await own.store({ namespace }, own.url.replace("//", "//reader:x@"));
    const told = await store.events("now", { intervalMs: 1 });
    const fields = "what created why  user  connection  node  version 1 id".split(" ");
    const add = (id) => admin("XADD", key, "*", ...fields, id);
    await admin("CONFIG", "SET", "replica-read-only", "no");
    await admin("REPLICAOF", "127.0.0.1", "1");
    const next = told.next();
    // Once it has asked for the role it connects anew, and goes on to do so.
    const connections = async () => Number(/total_connections_received:(\d+)/.exec(await admin("INFO", "stats"))[1]);
    const before = await connections();
    while ((await connections()) < before + 2);
    const lost = await add("lost");
    while ((await connections()) < before + 6);
    await admin("XDEL", key, lost);
    await admin("REPLICAOF", "NO", "ONE");
    await add("kept");
    const { value } = await next;
    const found = value.what === "lagged" ? (await told.next()).value : value;
    assert.equal(found.id, "kept");
  });
}

test("who may not read streams is told what is lacking", async () => {
  const store = await telling(1);
  await redis("ACL", "SETUSER", "reader", "on", "nopass", "~*", "+@all", "-xrevrange");
  const reader = await server.store({ namespace: store.namespace }, server.url.replace("//", "//reader:x@"));
  await assert.rejects(reader.events(), (error) => error instanceof ForbiddenError && error.lacking.includes("+xrevrange"));
  await redis("SET", `{${store.namespace}:0}:events`, "x");
  await assert.rejects(store.events(), CorruptError);
});

test("it reads all partitions over one connection of its own, and lets go of that", async () => {
  const store = await telling(16);
  await store.create();
  const connections = async () => (await redis("CLIENT", "LIST", "TYPE", "normal")).trim().split("\n").length;
  const before = await connections();
  const told = await store.events("beginning");
  await take(told, 1);
  assert.equal(await connections(), before + 1);
  await told.close();
  while ((await connections()) > before);
});

test("it ends when it is closed, when a loop is left and when its store is closed", async () => {
  const store = await telling(16);
  const [closed, left, last] = [await store.events(), await store.events(), await store.eventsOfNode("n")];
  const waiting = Promise.all([closed.next(), closed.next()]);
  await closed.close();
  const over = { done: true, value: undefined };
  assert.deepEqual([...(await waiting), await closed.next()], [over, over, over]);
  await store.create();
  for await (const event of left) {
    assert.equal(event.what, "created");
    break;
  }
  assert.deepEqual(await left.next(), over);
  const waits = last.next();
  await store.close();
  assert.deepEqual(await waits, over);
});
