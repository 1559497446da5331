/** Users who may not run all that a store needs. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { bundle } from "../src/bundle.js";
import { AmbiguousError, ForbiddenError, NotExecutedError } from "../src/index.js";
import { startServer } from "./support/server.js";

const server = await startServer();

/** Gives a user these rules and no others. */
async function limit(...rules) {
  await server.admin.sendCommand(["ACL", "SETUSER", "limited", "reset", "on", ">p", ...rules]);
}

const urlOf = (user) => server.url.replace("redis://", `redis://${user}@`);

function told(error) {
  return error ? `${error.message}: ${told(error.cause)}` : "";
}

test("a store does not start without any of its commands, and names it", async () => {
  const namespace = server.namespace();
  const lacking = (...rules) =>
    limit(...rules)
      .then(() => server.store({ namespace }, urlOf("limited:p")))
      .then(assert.fail, (error) => [error.constructor, ...error.lacking]);
  for (const command of [...bundle.start.commands, "MULTI", "EXEC"].map((name) => name.toLowerCase()))
    assert.deepEqual(await lacking("~*", "+@all", `-${command}`), [ForbiddenError, `+${command}`]);
  assert.deepEqual(await lacking("~*", "+@all", "-evalsha"), [ForbiddenError, "+evalsha"]);
  assert.deepEqual(await lacking("~*", "+@all", "-script"), [ForbiddenError, "+script|load"]);
  assert.deepEqual(await lacking("~other:*", "+@all"), [ForbiddenError, `~{${namespace}:0}:*`]);
});

test("the ACL user of docs/production.md may do what a store does", async () => {
  const namespace = server.namespace();
  const page = readFileSync(new URL("../../../docs/production.md", import.meta.url), "utf8");
  const [line] = page.split("ACL SETUSER ")[1].split("\n```");
  const rules = line.replace("{shop:0}", `{${namespace}:0}`).split(/\s+/);
  await server.admin.sendCommand(["ACL", "SETUSER", ...rules]);
  for (const database of ["", "/2"]) {
    const store = await server.store({ namespace }, urlOf("cloakroom:password") + database);
    const { session } = await store.create({ user: "ann", connection: "c", node: "n" });
    const { session: rotated } = await store.rotate(session, { user: "bob" });
    assert.deepEqual((await store.list({ user: "bob" })).sessions, [rotated]);
    assert.equal((await store.deleteUser("bob")).removed[0].id, rotated.id);
    assert.deepEqual((await store.reap()).sessions, []);
  }
});

test("a command that is refused later leaves no half", async () => {
  await limit("~*", "+@all");
  const store = await server.store({}, urlOf("limited:p"));
  const { session } = await store.create({ user: "ann", connection: "c" });
  await limit("~*", "+@all", "-set");
  const change = { set: { color: "red" } };
  const stopped = await store.patch(session, change).catch((error) => error);
  assert.ok(stopped instanceof AmbiguousError);
  assert.match(stopped.message, /patch at SET/);
  for (const call of [store.delete(session), store.create({ user: "bob" })]) {
    const error = await call.catch((thrown) => thrown);
    assert.ok(error instanceof NotExecutedError || error instanceof AmbiguousError);
    assert.match(told(error), /SET/);
  }
  await limit("~*", "+@all");
  const again = await store.withOperationId(stopped.operationId).patch(session, change);
  assert.equal(again.version, 2);
  assert.deepEqual(
    (await store.list({ user: "ann" })).sessions.map(({ id }) => id),
    [session.id],
  );
});
