/** What becomes of a call that may have happened: an answer counts only if what is stored proves it. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { test } from "node:test";
import { AmbiguousError, MissingError, OperationId } from "../src/index.js";
import { bundle } from "../src/bundle.js";
import { partOf } from "../src/ids.js";
import { ServerClock } from "../src/server-clock.js";
import { clockAt, startServer } from "./support/server.js";
import { startProxy } from "./support/proxy.js";

const server = await startServer();

test("the copy of a login has the id that all languages compute", () => {
  const { copies } = JSON.parse(readFileSync(new URL("../../../lua/logins.json", import.meta.url)));
  assert.ok(copies.length > 0);
  for (const { seed, operation_id: id, version, copy } of copies) {
    const [bytes] = partOf(Buffer.from(seed, "hex"), Buffer.from(id, "hex"), version);
    assert.equal(bytes.toString("hex"), copy);
  }
});

/** A store that leads through a proxy, and others that lead around it into the same namespace. */
async function start() {
  const proxy = await startProxy(server.port);
  const store = await server.store({}, proxy.url);
  return { proxy, store, others: await server.store({ namespace: store.namespace }) };
}

/** Lets the next call of a script be executed, then something else happen, then its reply be lost. */
function loseOne(proxy, meanwhile = async () => {}) {
  let left = 1;
  proxy.meanwhile = meanwhile;
  proxy.cuts = (request) => request.includes("EVALSHA") && left-- > 0;
}

/** Lets something happen before the next call of a script gets through; or a transaction that reads what `list` does. */
function beforeOne(proxy, stem, happens) {
  const calls = [bundle.operations[stem].sha1, ...(stem === "list" ? ["MULTI"] : [])];
  proxy.before = async (request) => {
    if (!calls.some((call) => request.includes(call))) return;
    proxy.before = async () => {};
    await happens();
  };
}

async function fourChanges(store, id) {
  for (const v of [1, 2, 3, 4]) await store.patch(id, { set: { v } });
}

/** What the server answers to a script's call as it was caught, without the question for its role that may be in front. */
async function answerTo(request) {
  const socket = connect({ port: server.port, host: "127.0.0.1" });
  socket.write(request.slice(request.search(/\*\d+\r\n\$7\r\nEVALSHA/)), "latin1");
  const [reply] = await once(socket, "data");
  socket.destroy();
  return String(reply);
}

/** Holds up the first attempt at a script until others have acted before the third. */
function overtake(proxy, stem, meanwhile) {
  const attempts = [];
  proxy.before = async (request) => {
    if (!request.includes(bundle.operations[stem].sha1)) return;
    attempts.push(request);
    if (attempts.length === 1) proxy.cutAll();
    if (attempts.length !== 3) return;
    await meanwhile();
    assert.match(await answerTo(attempts[0]), /\$2\r\nok\r\n/);
  };
}

/** Waits until the server's clock is past the time within which a call is taken for the first of its kind. */
async function later() {
  const now = async () => {
    const [seconds, micros] = await server.admin.sendCommand(["TIME"]);
    return Number(seconds) * 1000 + Number(micros) / 1000;
  };
  const until = (await now()) + 150;
  while ((await now()) < until);
}

const CHANGES = {
  patch: async (store, session) => store.patch(session, { set: { v: "mine" } }),
  bind: async (store, session) => store.bind(session, { connection: "d", node: "n" }),
  unbind: async (store, session) => ((await store.unbind(session, "c")) === "detached" ? undefined : assert.fail()),
  update: async (store, session) => {
    session.set("v", "mine");
    await store.update(session);
    return session;
  },
};

for (const [name, change] of Object.entries(CHANGES)) {
  test(`${name}: what four others followed is not done twice`, async () => {
    const { proxy, store, others } = await start();
    const { session } = await others.create({ connection: "c" });
    loseOne(proxy, () => fourChanges(others, session.id));
    await assert.rejects(change(store, session), AmbiguousError);
    const left = await others.get(session.id);
    assert.deepEqual([left.version, left.get("v"), proxy.cut], [6, 4, 1]);
  });

  test(`${name}: what a deletion followed has happened`, async () => {
    const { proxy, store, others } = await start();
    const { session } = await others.create({ connection: "c" });
    loseOne(proxy, () => others.delete(session.id));
    assert.equal((await change(store, session))?.version ?? 2, 2);
    assert.deepEqual([await others.get(session.id), proxy.cut], [null, 1]);
  });

  test(`${name}: what a rotation followed has happened, and names the new id`, async () => {
    const { proxy, store, others } = await start();
    const { session } = await others.create({ connection: "c" });
    loseOne(proxy, () => others.rotate(session.id, { newId: "new" }));
    const { id, version } = (await change(store, session)) ?? { id: "new", version: 2 };
    assert.deepEqual([id, version, proxy.cut], ["new", 2, 1]);
  });
}

test("a session that was made and deleted since was made", async () => {
  const { proxy, store, others } = await start();
  loseOne(proxy, () => others.delete("s"));
  assert.equal((await store.create({ id: "s" })).session.version, 1);
  assert.equal(await others.get("s"), null);
});

test("of many made sessions each answers for itself", async () => {
  const { proxy, store, others } = await start();
  loseOne(proxy, async () => {
    await others.delete("s0");
    await fourChanges(others, "s1");
  });
  const made = await store.createMany([{ id: "s0" }, { id: "s1" }, { id: "s2" }]);
  assert.deepEqual([made[0].session.version, made[2].session.version], [1, 1]);
  assert.ok(made[1] instanceof AmbiguousError);
  await assert.rejects(store.withOperationId(made[1].operationId).create({ id: "s1" }), AmbiguousError);
  assert.equal((await others.get("s1")).version, 5);
});

test("a first attempt that comes last is not executed", async () => {
  const { proxy, store, others } = await start();
  const { session } = await others.create();
  let first;
  proxy.before = async (request) => {
    first = request;
    proxy.before = async () => {};
    proxy.cutAll();
  };
  assert.equal((await CHANGES.patch(store, session)).version, 2);
  await fourChanges(others, session.id);
  assert.match(await answerTo(first), /^\*2\r\n\$6\r\nunsure\r\n/);
  const left = await others.get(session.id);
  assert.deepEqual([left.version, left.get("v")], [6, 4]);
});

test("a bind that an earlier attempt made does not tell what the last one declared", async () => {
  const { proxy, store, others } = await start();
  const { session } = await others.create({ connection: "a", node: "n" });
  await others.bind(session.id, { connection: "c", node: "n" });
  overtake(proxy, "bind", () => others.unbind(session.id, "c"));
  const error = await store.bind(session.id, { connection: "d" }).catch((thrown) => thrown);
  assert.ok(error instanceof AmbiguousError);
  const again = await store.withOperationId(error.operationId).bind(session.id, { connection: "d" });
  assert.deepEqual([again.version, again.previousConnection, again.previousNode, again.changed], [4, null, null, true]);
});

test("a bind that is repeated under its operation id does not tell what its caller names", async () => {
  const { store } = await start();
  const { session } = await store.create({ connection: "a", node: "n" });
  const mine = store.withOperationId(new OperationId());
  assert.equal((await mine.bind(session, { connection: "c" })).previousConnection, "a");
  const { version, previousConnection, previousNode } = await mine.bind(session, { connection: "c" });
  assert.deepEqual([version, previousConnection, previousNode], [2, null, null]);
});

test("a rotation that another change followed is ambiguous", async () => {
  const { proxy, store, others } = await start();
  const { session } = await others.create();
  loseOne(proxy, () => others.patch(session.id, { set: { v: 1 } }));
  const error = await store.rotate(session).catch((thrown) => thrown);
  assert.ok(error instanceof AmbiguousError);
  await assert.rejects(store.withOperationId(error.operationId).rotate(session), AmbiguousError);
  assert.equal((await others.get(session.id)).version, 3);
});

test("that nothing is there proves nothing once a reply was lost", async () => {
  const { proxy, store, others } = await start();
  const { session } = await others.create();
  loseOne(proxy, () => server.admin.sendCommand(["DEL", `{${store.namespace}:0}:session:${session.id}`]));
  await assert.rejects(store.delete(session.id), AmbiguousError);
  await assert.rejects(store.patch(session, { set: { v: 1 } }), MissingError);
});

test("what four others came before is done once it is known not to have happened", async () => {
  const { proxy, store, others } = await start();
  const { session } = await others.create();
  const meanwhile = async () => {
    await later();
    await fourChanges(others, session.id);
  };
  beforeOne(proxy, "patch", meanwhile);
  assert.equal((await CHANGES.patch(store, session)).version, 6);
  // Under an id of the caller it may have happened before.
  beforeOne(proxy, "patch", meanwhile);
  await assert.rejects(CHANGES.patch(store.withOperationId(new OperationId()), session), AmbiguousError);
  const left = await others.get(session.id);
  assert.deepEqual([left.version, left.get("v")], [10, 4]);
});

test("a repeated call is proved or ambiguous", async () => {
  const clock = clockAt(Date.now());
  const store = await server.store({ clock });
  const { session } = await store.create();
  const id = new OperationId();
  assert.equal((await CHANGES.patch(store.withOperationId(id), session)).version, 2);
  const again = store.withOperationId(id.ofARepeat());
  assert.equal((await CHANGES.patch(again, session)).version, 2);
  await assert.rejects(again.patch("nobody", { set: { v: 1 } }), AmbiguousError);
  await assert.rejects(again.delete("nobody"), AmbiguousError);
  clock.now += 1;
  await fourChanges(store, session.id);
  await assert.rejects(CHANGES.patch(again, session), AmbiguousError);
  assert.equal((await store.get(session.id)).version, 6);
});

test("a call is sent again once nobody takes it for the first, and by the server's time", async () => {
  const { proxy, store, others } = await start();
  const { session } = await others.create();
  const seen = [];
  proxy.before = async (request) => seen.push({ request, at: performance.now() });
  const began = performance.now();
  loseOne(proxy);
  assert.equal((await CHANGES.patch(store, session)).version, 2);
  const times = (command) => seen.filter(({ request }) => request.includes(command)).map(({ at }) => at);
  const [asked, sent] = [times("TIME"), times("EVALSHA")];
  assert.deepEqual([asked.length, sent.length], [1, 2]);
  assert.ok(sent[0] < asked[0] && asked[0] < sent[1] && asked[0] >= began + 110);
});

test("a new connection is asked for its server's time", async () => {
  const { proxy, store, others } = await start();
  const { session } = await others.create();
  const seen = [];
  proxy.before = async (request) => seen.push(request);
  await CHANGES.patch(store, session);
  assert.ok(!seen.some((request) => request.includes("TIME")));
  // The reply to a read is lost, so the next call goes by another connection.
  let left = 1;
  proxy.cuts = (request) => request.includes("ZRANGEBYSCORE") && left-- > 0;
  await store.list({ user: "nobody" });
  await CHANGES.bind(store, session);
  assert.ok(seen.some((request) => request.includes("TIME")));
});

test("a bound is never behind what the server told, and its clock may have run slow", () => {
  const clock = new ServerClock();
  assert.equal(clock.noLaterThan(performance.now()), undefined);
  clock.saw(["1000", "0"]);
  const now = performance.now();
  const within = (least, bound, most) => assert.ok(least <= bound && bound <= most, `${bound}`);
  within(1_000_000, clock.noLaterThan(now), 1_000_999);
  within(1_999_000, clock.noLaterThan(now + 1_000_000), 1_999_100);
  within(899_800, clock.noLaterThan(now - 100_000), 899_999);
  // A clock that was set back is believed.
  clock.saw(["400", "0"]);
  within(400_000, clock.noLaterThan(performance.now()), 500_000);
});

test("a listing shows what came before what it shows", async () => {
  const { proxy, store, others } = await start();
  const { session: first } = await others.create({ user: "ann" });
  beforeOne(proxy, "list", async () => {
    await others.create({ id: "second", user: "ann" });
    await others.patch(first.id, { set: { v: 1 } });
    await others.rotate(first.id, { newId: "rotated" });
  });
  const { sessions, next } = await store.list({ user: "ann" });
  const shown = sessions.map(({ id, version }) => `${id} ${version}`).sort();
  assert.deepEqual([shown, next], [["rotated 3", "second 1"], null]);
});

test("a page that changes all the time is listed in part, and read on", async () => {
  const { proxy, store, others } = await start();
  for (let made = 0; made < 3; made++) await others.create({ user: "ann" });
  let rounds = 0;
  const always = async () => {
    await others.create({ user: "ann" });
    beforeOne(proxy, "list", always);
    rounds += 1;
  };
  beforeOne(proxy, "list", always);
  const first = await store.list({ user: "ann" });
  assert.equal(rounds, 17);
  proxy.before = async () => {};
  const rest = await store.list({ user: "ann" }, { after: first.next });
  const ids = [...first.sessions, ...rest.sessions].map(({ id }) => id);
  assert.deepEqual([ids.length, new Set(ids).size], [20, 20]);
});

test("a page ends where its records are too large", async () => {
  const clock = clockAt(Date.now());
  const store = await server.store({ clock, rules: { valueBytes: 600_000, sessionBytes: 600_000 } });
  const ids = ["a", "b", "c", "d", "e", "f", "g"];
  for (const id of ids) {
    clock.now += 1;
    await store.create({ id, user: "ann", attributes: { v: "x".repeat(500_000) } });
  }
  const first = await store.list({ user: "ann" }, { size: 6 });
  const second = await store.list({ user: "ann" }, { after: first.next });
  const listed = [first, second].map(({ sessions }) => sessions.map(({ id }) => id));
  assert.deepEqual(listed, [ids.slice(0, 4), ids.slice(4)]);
});
