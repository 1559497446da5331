import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { bundle } from "../src/bundle.js";
import { shortHash } from "../src/ids.js";
import * as errors from "../src/index.js";
import { NodeIdentity, OperationId } from "../src/index.js";
import { Partitions } from "../src/partitions.js";
import { timeOf } from "../src/server-clock.js";
import { startProxy } from "./support/proxy.js";
import { clockAt, startServer } from "./support/server.js";

const server = await startServer();
const MINUTE = 60_000;
const TTL = 30 * MINUTE;
const LEASE = 10_000;
const TASK = Buffer.from("12345678");

/** A store of 16 partitions, with those and its clock. */
async function spread(rules = {}) {
  const clock = clockAt(1_000_000);
  const store = await server.store({ clock, partitions: 16, rules });
  return { store, clock, partitions: new Partitions(store.namespace, 16) };
}

/** An id in another partition than a text. */
function apart(partitions, text) {
  let number = 0;
  while (partitions.of(`device-${number}`) === partitions.of(text)) number++;
  return `device-${number}`;
}

/** A session of nobody in another partition than ann. */
async function visitor(store, partitions, fields = {}) {
  let id = store.newId();
  while (partitions.of(id) === partitions.of("ann")) id = store.newId();
  return (await store.create({ id, attributes: { cart: 7 }, ...fields })).session;
}

const idsOf = (sessions) => sessions.map(({ id }) => id);

/** All that a reading returns which goes on by `next`. */
async function all(read, start) {
  const pages = [];
  for (let next = start; next !== null; next = pages.at(-1).next) pages.push(await read(next));
  return pages;
}

test("the tags and partitions are those of the other languages", () => {
  const numbers = (count) => new Partitions("shop", count).tags.map((tag) => Number(/:(\d+)}$/.exec(tag)[1]));
  assert.deepEqual(numbers(16), [13, 22, 1, 40, 12, 23, 0, 41, 11, 20, 3, 42, 10, 21, 2, 43]);
  assert.deepEqual(numbers(1024).slice(0, 8), [167, 196, 526, 1327, 213, 914, 652, 1053]);
  const known = { ann: 2326, bob: 41723, "user-7": 36920, ünï: 58593 };
  for (const [text, crc] of Object.entries(known)) assert.equal(new Partitions("shop", 1000).of(text), crc % 1000);
});

test("an id that is made fits its user, and is the same again", () => {
  const operation = new OperationId();
  for (const count of [1, 16, 1024]) {
    const partitions = new Partitions("x", count);
    for (const user of ["", "ann", "ünï"]) {
      const id = partitions.newId(operation, user);
      partitions.check("id", id, user);
      assert.equal(partitions.newId(operation, user), id);
      assert.equal(id.length, 36);
    }
  }
});

test("the number is noted in each partition, and read by the next", async () => {
  const { store, clock, partitions } = await spread();
  const { session } = await store.create({ user: "ann" });
  for (const tag of partitions.tags) assert.equal(await server.admin.get(`${tag}:contract`), "1 16");
  const { namespace } = store;
  const later = await server.store({ namespace, clock });
  assert.equal((await later.get(session.id)).user, "ann");
  for (const count of [1, 8]) {
    const refused = server.store({ namespace, partitions: count });
    await assert.rejects(refused, (error) => error instanceof errors.PartitionsError && error.found === 16);
  }
  for (const count of [0, 1025]) await assert.rejects(server.store({ namespace, partitions: count }), errors.InvalidError);
  for (const foreign of ["1 x", "1 0", "1 1025", "1 2 3 4", "1 2 x", "1 "]) {
    await server.admin.set(`{${namespace}:0}:contract`, foreign);
    await assert.rejects(server.store({ namespace }), errors.CorruptError);
  }
});

test("a namespace that was made with one stays so", async () => {
  const { namespace } = await server.store();
  await assert.rejects(server.store({ namespace, partitions: 16 }), errors.PartitionsError);
  assert.deepEqual(await server.admin.keys(`{${namespace}:*`), [`{${namespace}:0}:contract`]);
});

test("all of a user is in one partition", async () => {
  const { store, partitions } = await spread();
  for (const user of ["ann", "bob", "ünï:{x}"]) {
    for (const { session } of await store.createMany(Array(5).fill({ user }))) {
      assert.equal((await store.get(session.id)).user, user);
    }
    const tag = partitions.tags[partitions.of(user)];
    assert.equal(await server.admin.zCard(`${tag}:user:${user}:sessions`), 5);
    assert.equal(await store.count({ user }), 5);
    assert.equal((await store.list({ user })).sessions.length, 5);
  }
  const many = (await store.createMany(Array(100).fill({}))).map(({ session }) => session.id);
  assert.ok(new Set(many.map((id) => partitions.of(id))).size > 8);
  assert.deepEqual(idsOf(await store.getMany(many)), many);
  assert.deepEqual(idsOf(await store.deleteMany(many)), many);
  assert.equal((await store.deleteUser("ann", { keep: many[0] })).removed.length, 5);
  assert.deepEqual([await store.count({ user: "ann" }), await store.count({ user: "bob" })], [0, 5]);
});

test("an id that does not fit is refused, and both are named", async () => {
  const { store, partitions } = await spread();
  const far = apart(partitions, "ann");
  const isNamed = (error) => {
    const told = `#${shortHash(far)} is in partition ${partitions.of(far)} of 16, and its user "ann" is in partition ${partitions.of("ann")}`;
    return error instanceof errors.InvalidError && error.message.includes(told);
  };
  await assert.rejects(store.create({ id: far, user: "ann" }), isNamed);
  assert.ok(isNamed((await store.createMany([{ id: far, user: "ann" }]))[0]));
  const { session } = await store.create({ id: far });
  session.user = "ann";
  await assert.rejects(store.update(session), isNamed);
  const exported = await store.export(far);
  exported.session.user = "ann";
  await assert.rejects(store.import(exported), isNamed);
  await assert.rejects(store.rotate(far, { newId: apart(partitions, far) }), /the session is in partition/);
  const fitting = store.newId("ann");
  assert.equal((await store.create({ id: fitting, user: "ann" })).session.id, fitting);
});

test("a rotation that stays in its partition is one script", async () => {
  const { store, partitions } = await spread();
  const { session } = await store.create({ user: "ann" });
  const { session: rotated } = await store.rotate(session);
  assert.equal(partitions.of(rotated.id), partitions.of("ann"));
  assert.equal(rotated.version, 2);
  assert.equal((await store.get(session.id)).id, rotated.id);
  assert.equal((await store.patch(session, { set: { b: 2 } })).id, rotated.id);
});

test("each operation on one session finds its partition", async () => {
  const { store } = await spread();
  for (let round = 0; round < 20; round++) {
    const { session } = await store.create({ connection: "c" });
    assert.equal((await store.refresh(session.id)).version, 1);
    assert.equal((await store.refreshAndGet(session)).id, session.id);
    session.set("a", 1);
    await store.update(session);
    await store.patch(session.id, { set: { b: 2 } });
    assert.equal(await store.unbind(session.id, "c"), "detached");
    assert.ok((await store.bind(session.id, { connection: "c", node: "n" })).changed);
    assert.ok(await store.knows(session.id));
    const { exported } = await store.freeze(session.id, TASK, "there");
    assert.equal(exported.session.get("b"), 2);
    assert.deepEqual(idsOf((await store.migrations()).migrations), [session.id]);
    assert.equal(await store.thaw(session.id, TASK, "outgoing"), "thawed");
    assert.ok(await store.delete(session.id));
  }
});

test("the session of a connection is found in whatever partition", async () => {
  const { store, clock } = await spread();
  for (let number = 0; number < 20; number++) {
    const { session } = await store.create({ connection: `c${number}` });
    assert.equal((await store.sessionByConnection(`c${number}`)).id, session.id);
  }
  assert.equal(await store.sessionByConnection("nobody's"), null);
  for (let number = 0; number < 10; number++) {
    const { session } = await store.create();
    clock.now += 1;
    await store.bind(session, { connection: "one", takeOver: true });
    assert.equal((await store.sessionByConnection("one")).id, session.id);
  }
});

test("the sessions of a node are listed over all partitions", async () => {
  const { store, clock } = await spread();
  const made = [];
  for (let at = 0; at < 40; at++) {
    clock.now += at % 3;
    made.push((await store.create({ node: "n" })).session);
  }
  assert.equal(await store.count({ node: "n" }), 40);
  const place = ({ createdAtMs, id }) => `${createdAtMs} ${id}`;
  const expected = idsOf(made.sort((one, other) => (place(one) < place(other) ? -1 : 1)));
  for (const size of [1, 7, 40, 100]) {
    const pages = await all((after) => store.list({ node: "n" }, { size, after }), undefined);
    assert.ok(pages.every(({ sessions }) => sessions.length <= size));
    assert.deepEqual(idsOf(pages.flatMap(({ sessions }) => sessions)), expected);
  }
});

test("what has expired is told and reaped over all partitions", async () => {
  const { store, clock } = await spread();
  const ids = [];
  for (let made = 0; made < 30; made++) {
    clock.now += 1;
    ids.push((await store.create({ ttlMs: 1000 })).session.id);
  }
  clock.now += 2000;
  assert.deepEqual(idsOf(await store.expired()), ids);
  assert.deepEqual(idsOf(await store.expired({ skip: 10, limit: 5 })), ids.slice(10, 15));
  const reaped = [];
  for (let more = true; more;) {
    const batch = await store.reap(2);
    reaped.push(...idsOf(batch.sessions));
    ({ more } = batch);
  }
  assert.deepEqual(reaped.sort(), ids.sort());
  assert.deepEqual((await store.reap()).sessions, []);
});

test("what is on its way is told over all partitions", async () => {
  const { store } = await spread();
  const ids = [];
  for (let made = 0; made < 30; made++) ids.push((await store.create()).session.id);
  for (const id of ids) await store.freeze(id, TASK, "there");
  for (const limit of [1, 4, 200]) {
    const pages = await all((skip) => store.migrations({ skip, limit }), 0);
    assert.deepEqual(idsOf(pages.flatMap(({ migrations }) => migrations)).sort(), ids.sort());
  }
});

test("each partition that is asked for a dead node's sessions has a deadline of its own", async () => {
  const proxy = await startProxy(server.port);
  const store = await server.store({ partitions: 64, deadlineMs: 1000 }, proxy.url);
  await store.heartbeat(new NodeIdentity("heir"), { want: "register", leaseMs: 60_000 });
  proxy.before = () => setTimeout(10);
  const { sessions, next } = await store.recover("dead", "heir", { evenIfLeased: true });
  assert.deepEqual([sessions, next], [[], null]);
});

test("the sessions of a dead node go to another from all partitions", async () => {
  const { store, clock } = await spread();
  await store.heartbeat(new NodeIdentity("dead"), { want: "register", leaseMs: LEASE });
  const ids = [];
  for (let at = 0; at < 40; at++) ids.push((await store.create({ node: "dead", connection: `c${at}` })).session.id);
  await assert.rejects(store.recover("dead", "heir"), errors.LeasedError);
  clock.now += LEASE;
  await store.heartbeat(new NodeIdentity("heir"), { want: "register", leaseMs: LEASE });
  assert.deepEqual(await store.lapsedNodes(), ["dead"]);
  const claims = await all((after) => store.recover("dead", "heir", { batch: 3, after }), undefined);
  assert.deepEqual(idsOf(claims.flatMap(({ sessions }) => sessions)).sort(), ids.sort());
  await store.recover("dead", "heir");
  const nodes = (await store.nodes()).map(({ name, isLive, sessions }) => [name, isLive, sessions]);
  assert.deepEqual(nodes, [["heir", true, 40]]);
});

test("a node holds a lease of its own in each partition", async () => {
  const { store, clock, partitions } = await spread();
  const node = new NodeIdentity("n");
  const register = () => store.heartbeat(node, { want: "register", leaseMs: LEASE });
  const leases = () => Promise.all(partitions.tags.map((tag) => server.admin.get(`${tag}:node:n:lease`)));
  assert.equal(await register(), clock.now + LEASE);
  assert.equal(new Set(await leases()).size, 16);
  const owner = store.asNode(node);
  const { session: here } = await owner.create({ id: store.newId("ann") });
  const { session: there } = await owner.create({ id: apart(partitions, "ann") });
  // It is lost in one partition, and the node goes on in the others.
  const lost = partitions.of("ann");
  await server.admin.del(`${partitions.tags[lost]}:node:n:lease`);
  const isFenced = (error) => error instanceof errors.FencedError && error.partitions.join() === String(lost);
  await assert.rejects(store.heartbeat(node, { leaseMs: LEASE }), isFenced);
  await assert.rejects(owner.patch(here, { set: { a: 1 } }), errors.FencedError);
  await owner.patch(there, { set: { a: 1 } });
  const before = await leases();
  await register();
  await owner.patch(here, { set: { a: 1 } });
  const changed = (await leases()).flatMap((lease, at) => (lease === before[at] ? [] : [at]));
  assert.deepEqual(changed, [lost]);
  assert.equal(await store.heartbeat(node, { want: "release" }), clock.now);
  await assert.rejects(store.heartbeat(node), (error) => error.partitions.length === 16);
});

test("who does not get the lease everywhere holds it nowhere", async () => {
  const { store, clock, partitions } = await spread();
  const [one, other] = [new NodeIdentity("n"), new NodeIdentity("n")];
  await store.heartbeat(one, { want: "register", leaseMs: LEASE });
  for (const tag of partitions.tags.slice(1)) await server.admin.del(`${tag}:node:n:lease`);
  const register = () => store.heartbeat(other, { want: "register", leaseMs: LEASE });
  await assert.rejects(register(), errors.LeasedError);
  clock.now += LEASE;
  assert.equal(await register(), clock.now + LEASE);
});

test("a lease that was taken in vain has time to be given back", async () => {
  const store = await server.store({ partitions: 16 });
  const partitions = new Partitions(store.namespace, 16);
  await store.heartbeat(new NodeIdentity("n"), { want: "register", leaseMs: MINUTE });
  for (const tag of partitions.tags.slice(1)) await server.admin.del(`${tag}:node:n:lease`);
  const instants = [];
  const noting = server.noting((until) => instants.push(until), partitions);
  await assert.rejects(noting.heartbeat(new NodeIdentity("n"), { want: "register" }), errors.LeasedError);
  const [beats, releases] = [instants.slice(0, 16), instants.slice(16)];
  assert.equal(new Set(beats).size, 1);
  assert.equal(releases.length, 15);
  assert.ok(Math.min(...releases) > beats[0]);
});

test("a login across partitions takes the session over whole", async () => {
  const { store, clock, partitions } = await spread({ ttlMs: TTL, maxLifetimeMs: 10 * TTL });
  for (const byId of [false, true]) {
    const old = await visitor(store, partitions, { connection: `of-${byId}`, node: "n" });
    clock.now += MINUTE;
    const { session, evicted, byAnother } = await store.rotate(byId ? old.id : old, { user: "ann" });
    assert.deepEqual([evicted, byAnother, session.user, session.get("cart")], [[], false, "ann", 7]);
    assert.deepEqual([session.connection, session.node, session.createdAtMs], [old.connection, "n", old.createdAtMs]);
    assert.deepEqual([session.version, session.expiresAtMs], [3, clock.now + TTL]);
    assert.deepEqual(await store.get(session.id), session);
    await assert.rejects(store.get(old.id), errors.MovedError);
    assert.equal((await store.sessionByConnection(old.connection)).id, session.id);
    assert.equal(await store.count({ user: "ann" }), 1);
    await assert.rejects(store.rotate(old, { user: "ann" }), errors.MovedError);
    // A logout that comes with the id from before is a logout all the same.
    assert.ok(await store.delete(old));
    assert.equal(await store.get(session.id), null);
  }
});

test("a login across partitions keeps to the limit", async () => {
  const { store, partitions } = await spread({ sessionsPerUser: 1, onLimit: "evictOldest" });
  const { session: first } = await store.create({ user: "ann" });
  const { evicted } = await store.rotate(await visitor(store, partitions), { user: "ann" });
  assert.deepEqual(idsOf(evicted), [first.id]);
  assert.equal(await store.count({ user: "ann" }), 1);
  const strict = await server.store({ namespace: store.namespace, rules: { sessionsPerUser: 1 }, clock: () => 1_000_000 });
  const old = await visitor(strict, partitions);
  await assert.rejects(strict.rotate(old, { user: "ann" }), errors.LimitError);
  assert.deepEqual(await strict.get(old.id), old);
});

test("a login across partitions is refused as one in a partition is", async () => {
  const { store, partitions } = await spread();
  const old = await visitor(store, partitions);
  const { session: used } = await store.create({ user: "ann" });
  await assert.rejects(store.rotate(old, { user: "ann", newId: used.id }), errors.ExistsError);
  await assert.rejects(store.rotate(old, { user: "ann", newId: apart(partitions, "ann") }), errors.InvalidError);
  await store.freeze(old, TASK, "there");
  await assert.rejects(store.rotate(old, { user: "ann" }), errors.FrozenError);
  assert.equal(await store.count({ user: "ann" }), 1);
});

test("whatever reply of a login is the last, nobody has the data twice and the old id never has the user", async () => {
  const { store, clock, partitions } = await spread({ ttlMs: TTL });
  const proxy = await startProxy(server.port);
  for (let answered = 0; answered < 6; answered++) {
    for (const isRepeated of [false, true]) {
      const old = await visitor(store, partitions, { connection: `c-${answered}-${isRepeated}` });
      const { namespace } = store;
      const dying = await server.store({ namespace, clock, deadlineMs: 1500, rules: { ttlMs: TTL } }, proxy.url);
      let operation = new OperationId();
      const login = { user: "ann", newId: store.newId("ann") };
      let left = answered;
      proxy.cuts = () => left-- <= 0;
      const ended = await dying.withOperationId(operation).rotate(old, login).catch((error) => error);
      proxy.cuts = () => false;
      if (ended instanceof errors.AmbiguousError) operation = ended.operationId;
      else if (answered < 5) assert.ok(ended instanceof errors.NotExecutedError, String(ended));
      assert.equal((await unlessLeft(store, old.id))?.user ?? null, null);
      if (isRepeated) {
        const { session } = await store.withOperationId(operation).rotate(old, login);
        assert.deepEqual([session.id, session.connection], [login.newId, old.connection]);
        assert.equal(await unlessLeft(store, old.id), null);
      }
      clock.now += MINUTE;
      const having = [];
      for (const id of [old.id, login.newId]) if (await unlessLeft(store, id)) having.push(id);
      // A session whose login nobody learned of goes as the copy does.
      assert.ok(having.length <= 1);
      if (isRepeated) assert.deepEqual(having, [login.newId]);
    }
  }
});

test("a login of a session that others keep changing comes to an end", async () => {
  const others = await server.store({ partitions: 16 });
  const partitions = new Partitions(others.namespace, 16);
  const proxy = await startProxy(server.port);
  const store = await server.store({ namespace: others.namespace }, proxy.url);
  const old = await visitor(others, partitions);
  const now = async () => timeOf(await server.admin.sendCommand(["TIME"]));
  let rounds = 2;
  proxy.before = async (request) => {
    if (!request.includes(bundle.operations.delete.sha1) || rounds === 0) return;
    rounds -= 1;
    // The copy has four changes that are newer than the login's beginning.
    for (let number = 0; number < 5; number++) await others.patch(old.id, { set: { n: number } });
    // So soon a call is taken for the first of its kind.
    const began = await now();
    while ((await now()) < began + 150);
  };
  const { session } = await store.rotate(old, { user: "ann" });
  assert.deepEqual([rounds, session.user, session.get("n"), session.version], [0, "ann", 4, 12]);
  assert.equal(await unlessLeft(others, old.id), null);
});

/** What a read finds under an id that a login may have left. */
function unlessLeft(store, id) {
  return store.get(id).catch((error) => {
    if (error instanceof errors.MovedError) return null;
    throw error;
  });
}
