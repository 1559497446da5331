/** A store over each client of node-redis that may be its own, or be handed in. */

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { createClient, createClientPool, createCluster, createSentinel, RESP_TYPES } from "@redis/client";
import { createClient as createOldestClient } from "oldest-redis-client";
import { Cloakroom, InvalidError, NodeIdentity } from "../src/index.js";
import { startServer } from "./support/server.js";

const server = await startServer();
const { url } = server;

/** What decodes otherwise, queues nothing, gives up at once or never, and has a prefix of its own. */
const ODD = {
  RESP: 3,
  commandOptions: { typeMapping: { [RESP_TYPES.NUMBER]: String, [RESP_TYPES.DOUBLE]: String }, timeout: 1 },
  disableOfflineQueue: true,
  commandsQueueMaxLength: 10,
  keyPrefix: "mine:",
  clientSideCache: { ttl: 0 },
  pingInterval: 1000,
  socket: { reconnectStrategy: false, port: server.port, host: "127.0.0.1" },
};

async function connected(client) {
  client.on("error", () => {});
  await client.connect();
  after(() => client.destroy());
  return client;
}

const CLIENTS = {
  "a URL": () => url,
  "options with RESP 2": () => ({ url, RESP: 2 }),
  "options with RESP 3": () => ({ url, RESP: 3 }),
  "a client as it comes": () => connected(createClient({ url })),
  "a client with RESP 2": () => connected(createClient({ url, RESP: 2 })),
  "a client that decodes bytes": async () => (await connected(createClient({ url }))).withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer }),
  "a client that is set up otherwise": () => connected(createClient(ODD)),
  "a client that is not connected": () => createClient({ url }),
  "the oldest client": () => connected(createOldestClient({ url })),
  "the oldest client with RESP 3": () => connected(createOldestClient({ url, RESP: 3 })),
};

for (const [name, make] of Object.entries(CLIENTS)) {
  test(`every operation is served over ${name}`, async () => {
    const namespace = server.namespace();
    await server.admin.sendCommand(["SET", `{${namespace}:0}:contract`, "1 1 1000"]);
    const store = await server.store({ namespace }, await make());
    const events = await store.events("beginning");
    const identity = new NodeIdentity("n");
    await store.heartbeat(identity, { want: "register" });
    const { session } = await store.create({ user: "ann", connection: "c", node: "n", attributes: { ünï: ["\u0000", 1] } });
    assert.equal((await events.next()).value.what, "created");
    assert.deepEqual(await store.get(session.id), session);
    assert.deepEqual((await store.list({ user: "ann" })).sessions, [session]);
    const page = await store.list({ node: "n" }, { size: 1 });
    assert.deepEqual([page.next.createdAtMs, page.next.id, page.next.ties], [session.createdAtMs, session.id, 1]);
    assert.deepEqual([await store.count({ user: "ann" }), (await store.sessionByConnection("c")).id], [1, session.id]);
    const [node] = await store.nodes();
    assert.deepEqual([node.name, node.isLive, node.sessions], ["n", true, 1]);
    session.set("more", {});
    await store.update(session);
    session.apply(await store.patch(session, { set: { a: 1 } }));
    await store.refresh(session);
    const { session: mine } = await store.rotate(session, { user: "bob", set: { b: 2 } });
    assert.deepEqual(Object.fromEntries(mine.attributes), { ünï: '["\\u0000",1]', more: "{}", a: "1", b: "2" });
    const task = Buffer.from("the task");
    await store.freeze(mine, task, "east");
    assert.equal((await store.migrations()).migrations[0].place, "east");
    assert.equal(await store.thaw(mine, task, "outgoing"), "thawed");
    const { sessions } = await store.recover("n", "m").catch(() => ({ sessions: [] }));
    assert.deepEqual([sessions, await store.expired(), (await store.reap()).sessions], [[], [], []]);
    assert.deepEqual((await store.deleteUser("bob")).removed.map(({ id }) => id), [mine.id]);
    assert.deepEqual(await store.explain(mine.id), { word: "deleted" });
  });
}

test("a client that was handed in stays its caller's", async () => {
  const client = await connected(createClient({ url }));
  const store = await Cloakroom.connect(client, { namespace: server.namespace() });
  await store.create();
  await store.close();
  assert.equal(await client.ping(), "PONG");
  client.destroy();
});

test("what is no client of one server is refused by name", async () => {
  const others = [
    createCluster({ rootNodes: [{ url }] }),
    createSentinel({ name: "s", sentinelRootNodes: [{ host: "127.0.0.1", port: server.port }] }),
    createClientPool({ url }),
    { sendCommand: () => {} },
  ];
  for (const other of others) {
    await assert.rejects(Cloakroom.connect(other), (error) => error instanceof InvalidError && error.field === "redis");
  }
});

test("however many calls there are at once, there is one connection", async () => {
  const own = await startServer();
  const connections = async () => Number(/connected_clients:(\d+)/.exec(await own.admin.sendCommand(["INFO", "clients"]))[1]);
  const before = await connections();
  const store = await own.store();
  const { session } = await store.create();
  await Promise.all(Array.from({ length: 500 }, () => store.refresh(session.id)));
  assert.equal(await connections(), before + 1);
});
