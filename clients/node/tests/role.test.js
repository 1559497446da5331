/** A server that is not the master, and one that is slow. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { SimpleError } from "@redis/client";
import { AmbiguousError, Cloakroom, ForbiddenError, NotExecutedError } from "../src/index.js";
import { bundle } from "../src/bundle.js";
import { Role } from "../src/role.js";
import { eventually } from "./support/cluster.js";
import { startProxy } from "./support/proxy.js";
import { clockAt, startServer } from "./support/server.js";

const own = await startServer();
const tell = (...command) => own.admin.sendCommand(command);
/** It follows nobody who is there, and keeps what it has. */
const demote = () => tell("REPLICAOF", "127.0.0.1", "1");
const promote = () => tell("REPLICAOF", "NO", "ONE");
/** How often the server refused a write because it is not the master. */
const refusals = async () => Number(/errorstat_READONLY:count=(\d+)/.exec(await tell("INFO", "errorstats"))?.[1] ?? 0);

test("a store does not start at a replica, and waits for it to be the master", async () => {
  await demote();
  const refused = await Cloakroom.connect(own.url, { deadlineMs: 1000 }).catch((error) => error);
  assert.deepEqual([refused.constructor, refused.reason], [NotExecutedError, "connection"]);
  assert.equal(refused.cause.message, "the server is a replica");
  const starting = own.store();
  await promote();
  await (await starting).create();
});

test("what a demoted master answers does not count, until it is the master again", async () => {
  const namespace = own.namespace();
  const store = await own.store({ namespace, deadlineMs: 1500 });
  const { session } = await store.create();
  await demote();
  const isRefused = () =>
    store.get(session.id).then(
      () => false,
      (error) => error instanceof NotExecutedError,
    );
  // For a second it is taken for the master that it said that it is.
  await eventually(isRefused);
  const write = await store.patch(session, { set: { a: 1 } }).catch((error) => error);
  assert.equal(write.constructor, NotExecutedError);
  await promote();
  assert.deepEqual(await store.get(session.id), session);
  assert.equal((await store.patch(session, { set: { a: 1 } })).version, 2);
});

test("a write that a demoted master refuses is taken to the next master", async () => {
  const store = await own.store();
  const { session } = await store.create();
  await demote();
  const patched = store.patch(session, { set: { a: 1 } });
  // It answers at once that it takes no writes.
  const before = await refusals();
  await eventually(async () => (await refusals()) > before);
  await promote();
  assert.equal((await patched).version, 2);
});

test("a reap that a demoted master refuses is taken to the next master", async () => {
  const proxy = await startProxy(own.port);
  const clock = clockAt(Date.now());
  const store = await own.store({ clock, rules: { ttlMs: 1000 } }, proxy.url);
  await store.create({ id: "a" });
  clock.now += 1000;
  // The expired sessions are read before that.
  proxy.before = async (request) => {
    if (!request.includes(bundle.operations.reap.sha1)) return;
    proxy.before = async () => {};
    await demote();
  };
  const before = await refusals();
  const reaping = store.reap();
  await eventually(async () => (await refusals()) > before);
  await promote();
  assert.deepEqual((await reaping).sessions.map(({ id }) => id), ["a"]);
});

/** A store at a demoted master. Its replies come in two parts: `endOfFirst` tells where the first one ends, if there is one. */
async function atADemotedMaster(endOfFirst, deadlineMs) {
  const proxy = await startProxy(own.port);
  const store = await own.store({ deadlineMs }, proxy.url);
  const { session } = await store.create();
  await demote();
  proxy.reply = async (data, pass) => {
    const end = endOfFirst(data);
    if (end > 0) {
      pass(data.subarray(0, end));
      await setTimeout(20);
    }
    pass(data.subarray(Math.max(end, 0)));
  };
  const patchAll = () =>
    Array.from({ length: 60 }, (_, at) => store.patch(session, { set: { [at]: at } }).catch((error) => error));
  return { proxy, store, session, patchAll };
}

const kindsOf = (answers) => Array.from(new Set(answers.map(({ constructor }) => constructor)));

/** Where the first refusal in a reply ends. */
const endOfRefusal = (data) => {
  const at = data.indexOf("-READONLY");
  return at < 0 ? at : data.indexOf("\r\n", at) + 2;
};

test("the first refusal of a demoted master costs no other call its own", async () => {
  const { patchAll } = await atADemotedMaster(endOfRefusal, 3000);
  const answers = await Promise.all(patchAll());
  await promote();
  assert.deepEqual(kindsOf(answers), [NotExecutedError]);
});

// It takes the second for which a server is taken for the master.
test("the first answer that says that the server is a replica costs no other call its refusal", async () => {
  const { store, session, patchAll } = await atADemotedMaster((data) => data.indexOf("-READONLY"), 3000);
  await setTimeout(1000);
  const reading = store.get(session.id).catch((error) => error);
  const answers = await Promise.all([reading, ...patchAll()]);
  await promote();
  assert.deepEqual(kindsOf(answers), [NotExecutedError]);
});

test("calls that a demoted master refuses go on once it is the master again", async () => {
  const { proxy, store, session, patchAll } = await atADemotedMaster(endOfRefusal, 20_000);
  const before = await refusals();
  const patches = patchAll();
  await eventually(async () => (await refusals()) >= before + 60);
  await promote();
  assert.equal(new Set((await Promise.all(patches)).map(({ version }) => version)).size, 60);
  assert.equal((await store.get(session.id)).version, 61);
  await eventually(() => proxy.open === 1);
});

test("a connection to a demoted master ends with its last call, though nobody answers that", async () => {
  const { proxy, store, session, patchAll } = await atADemotedMaster(endOfRefusal, 3000);
  const { reply } = proxy;
  let held = 0;
  proxy.reply = async (data, pass) => {
    if (held > 0 || endOfRefusal(data) < 0) return reply(data, pass);
    held += 1;
    pass(data.subarray(0, endOfRefusal(data)));
    return new Promise(() => {});
  };
  const answers = Promise.all(patchAll());
  await eventually(() => held > 0);
  await promote();
  const kinds = kindsOf((await answers).filter((answer) => answer instanceof Error));
  assert.deepEqual(kinds, [AmbiguousError]);
  await eventually(() => proxy.open === 1);
  assert.ok(await store.get(session.id));
});

test("the role is asked for as the user may, and who may not at all does not start", async () => {
  await tell("ACL", "SETUSER", "limited", "reset", "on", ">p", "~*", "+@all", "-role");
  const url = own.url.replace("redis://", "redis://limited:p@");
  const store = await own.store({ deadlineMs: 1000 }, url);
  const { session } = await store.create();
  await demote();
  await eventually(() =>
    store.get(session.id).then(
      () => false,
      () => true,
    ),
  );
  await promote();
  await tell("ACL", "SETUSER", "limited", "-info");
  const refused = await Cloakroom.connect(url).catch((error) => error);
  assert.deepEqual([refused.constructor, refused.lacking], [ForbiddenError, ["+role"]]);
});

test("a server counts for a second from when it was asked", () => {
  const role = new Role();
  const question = role.questionAt(0);
  assert.deepEqual([question, role.questionAt(999), role.countsFor(0)], [["ROLE"], undefined, false]);
  role.heard(question, ["master", 0, []], 0);
  assert.deepEqual([role.countsFor(1000), role.countsFor(1001), role.trouble], [true, false, undefined]);
  assert.deepEqual(role.questionAt(1000), ["ROLE"]);
  role.forget();
  assert.deepEqual([role.countsFor(0), role.questionAt(1001)], [false, ["ROLE"]]);
  role.heard(question, ["slave"], 1001);
  assert.equal(role.trouble.message, "the server is a replica");
  role.forget();
  assert.equal(role.trouble, undefined);
});

test("where one question is refused another is asked, and nothing is known where both are", () => {
  const role = new Role();
  const refused = new SimpleError("NOPERM this user has no permissions to run the 'role' command");
  const unknown = new SimpleError("ERR unknown command 'INFO'");
  let question = role.questionAt(0);
  role.heard(question, new SimpleError("LOADING"), 0);
  question = role.questionAt(1);
  role.heard(question, refused, 1);
  question = role.questionAt(2);
  assert.deepEqual(question, ["INFO", "replication"]);
  for (const [info, trouble] of [
    ["# Replication\r\nrole:master\r\n", undefined],
    ["role:slave\r\n", "the server is a replica"],
    ["", "the server is not known to be a master"],
  ]) {
    role.forget();
    role.heard(question, info, 3);
    assert.equal(role.trouble?.message, trouble);
  }
  role.heard(question, unknown, 3);
  assert.deepEqual([role.isUntold, role.questionAt(9999), role.countsFor(9999)], [true, undefined, true]);
});

test("beyond the commands that may wait, a call is not executed, and calls go on when the server does", async () => {
  const proxy = await startProxy(own.port);
  const namespace = own.namespace();
  const store = await own.store({ namespace, maxWaiting: 20, deadlineMs: 20_000 }, proxy.url);
  const { session } = await store.create();
  let release;
  const held = new Promise((resolve) => (release = resolve));
  proxy.before = () => held;
  const calls = Array.from({ length: 40 }, () =>
    store.get(session.id).then(
      ({ id }) => id,
      (error) => error,
    ),
  );
  await eventually(async () => (await Promise.race([calls.at(-1), "waits"])) !== "waits");
  release();
  const outcomes = await Promise.all(calls);
  const served = outcomes.filter((outcome) => outcome === session.id);
  const refused = outcomes.filter((outcome) => outcome instanceof NotExecutedError && outcome.reason === "busy");
  // Each takes two commands, and one may ask for the role.
  assert.ok(served.length >= 9 && served.length <= 10, String(served.length));
  assert.equal(served.length + refused.length, 40);
  assert.equal((await store.get(session.id)).id, session.id);
});
