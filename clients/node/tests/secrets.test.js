import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { SimpleError } from "@redis/client";
import { AmbiguousError, NodeIdentity, NotExecutedError } from "../src/index.js";
import { clockAt, startServer } from "./support/server.js";

const server = await startServer();

/** All ways in which something may come into a log. */
function shownOf(value) {
  const looks = [{}, { depth: 9 }, { depth: 9, showHidden: true, getters: true }].map((how) => inspect(value, how));
  const told = value instanceof Error ? [value.message, value.stack, String(value.cause)] : [];
  return [...looks, JSON.stringify(value), JSON.stringify({ ...value }), String(value), ...told].join("\n");
}

/** All session ids have this in them, and all tokens and data. */
const SECRET = "s3cret";

test("no answer and no error shows an id, a token or data", async () => {
  const clock = clockAt(Date.now());
  const store = await server.store({ clock, rules: { ttlMs: 60_000, sessionsPerUser: 2, onLimit: "evictOldest" } });
  let number = 0;
  const id = () => `${SECRET}-${number++}`;
  const create = (more = {}) => store.create({ id: id(), attributes: { key: SECRET }, ...more });
  const task = Buffer.from("the task");
  const { session } = await create({ user: "ann", connection: "c", node: "n" });
  const shown = [];
  const see = async (call) => {
    const answer = await Promise.resolve(call).catch((error) => error);
    shown.push(answer);
    return answer;
  };

  await see(store.get(session.id));
  const patched = await see(store.patch(session, { set: { other: SECRET } }));
  session.apply(patched);
  await see(store.refresh(session));
  await see(store.refreshAndGet(session));
  await see(session.attributes);
  await see(store.getMany([session.id, "x".repeat(200)]));
  const { session: rival } = await create();
  await see(store.bind(rival, { connection: "c" }));
  await see(store.bind(rival, { connection: "c", takeOver: true }));
  await see(store.update(await store.get(rival.id)));
  await see(store.create({ id: rival.id }));
  await see(store.rotate(rival, { newId: id() }));
  await see(store.create({ id: rival.id }));
  clock.now += 1;
  for (let made = 0; made < 3; made++) await see(create({ user: "ann" }));
  await see(store.createMany([{ id: id() }, { id: session.id }]));
  const page = await see(store.list({ user: "ann" }, { size: 1 }));
  await see(page.next);
  await see(store.export(rival.id));
  const { session: leaving } = await create();
  await see(store.freeze(leaving, task, "east"));
  await see(store.migrations());
  await see(store.patch(leaving, { set: { a: 1 } }));
  await see(store.delete((await create()).session));
  await see(store.deleteUser("ann"));
  const identity = new NodeIdentity("m");
  await see(store.heartbeat(identity, { want: "register" }));
  await create({ node: "gone", connection: "c2" });
  await see(store.recover("gone", "m"));
  clock.now += 60_000;
  await see(store.expired());
  await see(store.create({ id: session.id, connection: "c" }));
  await see(store.reap());
  assert.deepEqual([shown.length, shown.filter((answer) => answer instanceof Error).length], [29, 4]);
  for (const answer of shown) assert.ok(!shownOf(answer).includes(SECRET), shownOf(answer));
});

test("bad input is not shown either", async () => {
  const store = await server.store({ partitions: 16 });
  const tooLong = SECRET.repeat(50);
  const calls = [
    () => store.get(tooLong),
    () => store.create({ id: tooLong }),
    () => store.createMany([{ id: tooLong }]).then(([error]) => Promise.reject(error)),
    ...Array.from({ length: 8 }, (_, at) => () => store.create({ id: `${SECRET}${at}`, user: "ann" })),
    () => store.create({ attributes: { a: [SECRET, NaN] } }),
    () => store.list({ user: "ann" }, { after: `1.1.${tooLong}` }),
  ];
  const errors = (await Promise.allSettled(calls.map((call) => call()))).flatMap(({ reason }) => reason ?? []);
  assert.ok(errors.length > 8);
  for (const error of errors) assert.ok(!shownOf(error).includes(SECRET), shownOf(error));
});

test("an error of the server that repeats what it was sent is kept without that", () => {
  const told = [
    ["ERR unknown command 'GETX', with args beginning with: '{x:0}:session:s3cret' ", "ERR unknown command '…' "],
    ["NOPERM No permissions to access the '{x:0}:session:it's s3cret' key", "NOPERM No permissions to access the '…' key"],
    ["OOM command not allowed when used memory > 'maxmemory'.", "OOM command not allowed when used memory > '…'."],
  ];
  for (const [message, kept] of told) {
    const errors = [new NotExecutedError("server", new SimpleError(message)), new AmbiguousError(undefined, new SimpleError(message))];
    for (const error of errors) {
      assert.deepEqual([error.cause.message, error.cause.constructor], [kept, SimpleError]);
      assert.ok(!shownOf(error).includes(SECRET), shownOf(error));
    }
  }
});

test("an answer has its ids for whoever asks, and a hash of them for a log", async () => {
  const store = await server.store();
  const { session } = await store.create({ id: SECRET, connection: "c" });
  const removed = await store.delete(session);
  assert.deepEqual([removed.id, session.id], [SECRET, SECRET]);
  assert.match(inspect(removed), /^Removed \{ *\n? *id: '#[0-9a-f]{8}',\n? *user: null/);
  assert.match(JSON.stringify(session), /^\{"id":"#[0-9a-f]{8}","user":null/);
});
