import assert from "node:assert/strict";
import { test } from "node:test";
import { AmbiguousError, InvalidError, MovedError, NodeIdentity, NotExecutedError } from "../src/index.js";
import { Partitions, slotOf } from "../src/partitions.js";
import { parseCluster } from "../src/slots.js";
import { eventually, startCluster } from "./support/cluster.js";

const cluster = await startCluster();
const USERS = ["ann", "bob", "cid", "dan", "eve"];

/** A store on a cluster, closed when the tests are done. */
function storeOn({ nodes: [first], url }, options = {}) {
  return first.store(options, url);
}

const idsOf = (sessions) => sessions.map(({ id }) => id);

/** What a store does with sessions of a user, from the first call to the last. */
async function serves(store, user) {
  const { session } = await store.create({ user, connection: `of-${user}`, node: "n" });
  assert.equal((await store.refresh(session.id)).version, 1);
  assert.equal((await store.get(session.id)).user, user);
  assert.equal((await store.sessionByConnection(`of-${user}`)).id, session.id);
  const { session: visitor } = await store.create({ attributes: { cart: 7 } });
  const { session: login } = await store.rotate(visitor, { user });
  assert.equal(login.get("cart"), 7);
  await assert.rejects(store.get(visitor.id), MovedError);
  assert.deepEqual(idsOf((await store.list({ user })).sessions).sort(), [session.id, login.id].sort());
  assert.equal(await store.count({ node: "n" }), 1);
  assert.ok(await store.delete(login));
  assert.equal((await store.deleteUser(user)).removed.length, 1);
  assert.equal(await store.count({ user }), 0);
}

/** Calls of one kind, one after the other, until they are told to end. */
class Load {
  done = 0;
  failed = [];
  #isOver = false;
  #work;

  constructor(call) {
    this.#work = this.#run(call);
    this.#work.catch(() => {});
  }

  async #run(call) {
    while (!this.#isOver) {
      try {
        await call();
        this.done += 1;
      } catch (error) {
        if (!(error instanceof NotExecutedError || error instanceof AmbiguousError)) throw error;
        this.failed.push(error);
      }
    }
  }

  async goesOn(calls = 20) {
    const before = this.done;
    await eventually(() => this.done > before + calls);
  }

  async end() {
    this.#isOver = true;
    await this.#work;
  }
}

test("a URL names nodes, and the user of all", () => {
  for (const scheme of ["redis+cluster", "redis-cluster", "valkey+cluster"]) {
    const { seeds, username, password } = parseCluster(`${scheme}://ann:p%40ss@one,two:7000,[::1]:7001/`);
    assert.deepEqual(seeds.map(({ host, port }) => `${host} ${port}`), ["one 6379", "two 7000", "::1 7001"]);
    assert.deepEqual([username, password], ["ann", "p@ss"]);
  }
  assert.ok(parseCluster("rediss+cluster://one").isTls);
  for (const other of ["redis://one/", "http+cluster://one", "one"]) assert.equal(parseCluster(other), undefined);
  for (const bad of ["redis+cluster://", "redis+cluster://one,", "redis+cluster://one/1", "redis+cluster://one:99999"]) {
    assert.equal(parseCluster(bad), null, bad);
  }
  return assert.rejects(cluster.nodes[0].store({}, "redis+cluster://one/1"), InvalidError);
});

test("namespaces anywhere and partitions everywhere are served from any node", async () => {
  for (let number = 0; number < 12; number++) await serves(await storeOn(cluster, { namespace: `n${number}` }), "ann");
  const namespace = "spread";
  let store;
  for (const { port } of cluster.nodes) {
    store = await cluster.nodes[0].store({ namespace, partitions: 16 }, `redis+cluster://127.0.0.1:${port}`);
    for (const user of ["ann", "bob", "cid"]) await serves(store, user);
  }
  const many = (await store.createMany(Array(50).fill({}))).map(({ session }) => session.id);
  assert.deepEqual(idsOf(await store.getMany(many)), many);
  assert.deepEqual(idsOf(await store.deleteMany(many)), many);
  assert.deepEqual([await store.expired(), (await store.reap()).sessions, (await store.migrations()).migrations], [[], [], []]);
  const identity = new NodeIdentity("gateway");
  await store.heartbeat(identity, { want: "register" });
  await store.asNode(identity).create();
  assert.deepEqual((await store.nodes()).map(({ name, isLive, sessions }) => [name, isLive, sessions]), [["gateway", true, 1]]);
});

test("a flush of the scripts of one node stays invisible", async () => {
  const store = await storeOn(cluster, { partitions: 16, namespace: "flushed" });
  for (const node of [0, 1, 2]) {
    await cluster.tell(node, "SCRIPT", "FLUSH");
    await serves(store, "ann");
  }
});

test("connections that broke are made again", async () => {
  const store = await storeOn(cluster, { partitions: 16, namespace: "broken" });
  const { session } = await store.create({ user: "ann" });
  for (const node of cluster.nodes.keys()) await cluster.tell(node, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
  assert.equal((await store.patch(session, { set: { a: 1 } })).version, 2);
  assert.equal((await store.get(session.id)).version, 2);
});

test("while a slot moves, reads never fail and writes wait", async () => {
  const store = await storeOn(cluster, { namespace: "moving", deadlineMs: 20_000 });
  const sessions = [];
  for (let made = 0; made < 4; made++) sessions.push((await store.create({ user: "ann" })).session);
  const slot = slotOf("{moving:0}");
  const source = await cluster.owner(slot);
  const target = (source + 1) % 3;
  const versions = new Map();
  const writes = sessions.map(({ id }) => {
    return new Load(async () => versions.set(id, (await store.patch(id, { set: { n: versions.get(id) ?? 0 } })).version));
  });
  const reads = sessions.map(({ id }) => {
    return new Load(async () => {
      const before = versions.get(id) ?? 0;
      assert.ok((await store.get(id)).version >= before, "an older state was read");
    });
  });
  for (const load of writes) await load.goesOn();
  await cluster.beginToMove(slot, source, target);
  while ((await cluster.moveKeys(slot, source, target, 1)) > 0) for (const load of reads) await load.goesOn(2);
  await cluster.endMove(slot, source, target);
  for (const load of writes) await load.goesOn();
  for (const load of [...writes, ...reads]) {
    await load.end();
    assert.deepEqual(load.failed, []);
  }
  for (const { id } of sessions) assert.equal((await store.get(id)).version, versions.get(id));
  await serves(store, "bob");
});

test("a store starts and reads while its slot moves", async () => {
  const namespace = "starting";
  const store = await storeOn(cluster, { namespace });
  const { session } = await store.create({ user: "ann" });
  const slot = slotOf(`{${namespace}:0}`);
  const source = await cluster.owner(slot);
  const target = (source + 1) % 3;
  await cluster.beginToMove(slot, source, target);
  await cluster.moveKeys(slot, source, target, 1);
  const waits = () => cluster.errors(source, "TRYAGAIN");
  const before = await waits();
  const other = await cluster.nodes[0].hurried(3000, cluster.url, namespace);
  assert.ok((await waits()) <= before + 1, "it started without waiting for the slot to arrive");
  assert.equal((await other.get(session.id)).version, 1);
  assert.equal(await other.get("nobody"), null);
  // A new key in a slot on its way is not made, and nothing of it is. Its deadline may end while it is on its way.
  const refused = await other.create({ id: "new", user: "ann" }).catch((error) => error);
  assert.ok(refused instanceof NotExecutedError || refused instanceof AmbiguousError);
  while ((await cluster.moveKeys(slot, source, target, 10)) > 0);
  await cluster.endMove(slot, source, target);
  assert.equal(await store.get("new"), null);
  assert.equal(await store.count({ user: "ann" }), 1);
  await serves(store, "bob");
});

test("the replica of a killed master takes over", async () => {
  const own = await startCluster();
  const store = await storeOn(own, { namespace: "failing", partitions: 16 });
  const sessions = [];
  for (const user of USERS) sessions.push((await store.create({ user })).session);
  const loads = sessions.map(({ id }) => new Load(() => store.patch(id, { set: { a: 1 } })));
  for (const load of loads) await load.goesOn();
  await own.nodes[0].kill();
  await own.promoted(0);
  for (const load of loads) await load.goesOn();
  await Promise.all(loads.map((load) => load.end()));
  for (const { id } of sessions) assert.ok(await store.get(id));
  await serves(store, "fay");
});

test("events follow a slot that moves, and the replica that takes over", async () => {
  const own = await startCluster();
  const namespace = "telling";
  const slot = slotOf(`{${namespace}:0}`);
  const source = await own.owner(slot);
  const target = (source + 1) % 3;
  await own.tell(source, "SET", `{${namespace}:0}:contract`, "1 1 1000");
  const store = await storeOn(own, { namespace, deadlineMs: 20_000 });
  const [told, kept] = [await store.events("now", { intervalMs: 5 }), await store.events("now", { intervalMs: 5 })];
  const made = [];
  const make = async () => {
    for (const user of USERS) made.push((await store.create({ user })).session.id);
  };
  const idsFrom = async (events) => {
    const taken = [];
    while (taken.length < USERS.length) taken.push((await events.next()).value.id);
    return taken;
  };
  await make();
  await own.beginToMove(slot, source, target);
  while ((await own.moveKeys(slot, source, target, 10)) > 0);
  assert.deepEqual(await idsFrom(told), made);
  await own.endMove(slot, source, target);
  await make();
  assert.deepEqual(await idsFrom(told), made.slice(USERS.length));
  await own.nodes[target].kill();
  await own.promoted(target);
  await eventually(() => store.create({ user: "fay" }).then(Boolean, () => false));
  await eventually(async () => (await told.next()).value.user === "fay");
  assert.deepEqual(await idsFrom(kept), made.slice(0, USERS.length));
});

test("a store starts while one master is away, and serves what the others have", async () => {
  const own = await startCluster();
  const namespace = "away";
  await storeOn(own, { namespace, partitions: 16 });
  const away = ((await own.owner(slotOf(`{${namespace}:0}`))) + 1) % 3;
  const partitions = new Partitions(namespace, 16);
  const homes = new Map();
  for (let user = 0; user < 50; user++) {
    const slot = slotOf(partitions.tags[partitions.of(String(user))]);
    homes.set((await own.owner(slot)) === away, String(user));
  }
  for (const node of own.nodes.keys()) await own.tell(node, "CONFIG", "SET", "cluster-require-full-coverage", "no");
  // No replica takes its place.
  await own.nodes[3 + away].kill();
  await own.nodes[away].kill();
  // Its start and its last call wait for the one that is away as long as they may.
  const store = await storeOn(own, { namespace, deadlineMs: 5000 });
  assert.ok(await store.create({ user: homes.get(false) }));
  await assert.rejects(store.create({ user: homes.get(true) }), NotExecutedError);
});
