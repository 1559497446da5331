/** A test as a user of the package has it, who has nothing else of the repository. */

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Cloakroom, InvalidError, MissingError } from "@cloakroom/sessions";

let now = Date.now();
const store = await Cloakroom.connect(process.env.REDIS_URL, { namespace: "users-own", clock: () => now });
after(() => store.close());

test("a cart survives the login, and not the logout", async () => {
  const { session: visit } = await store.create({ attributes: { cart: ["umbrella"] } });
  const { session } = await store.rotate(visit, { user: "ann", set: { by: "password" } });
  session.get("cart").push("gloves");
  await store.update(session);
  assert.deepEqual((await store.get(session.id)).get("cart"), ["umbrella", "gloves"]);
  await store.delete(session);
  await assert.rejects(store.patch(session, { set: { late: true } }), MissingError);
  await assert.rejects(store.create({ user: 42 }), (error) => error instanceof InvalidError && error.field === "user");
});

test("a session ends when it was not used", async () => {
  const { session } = await store.create({ ttlMs: 60_000 });
  now += 60_000;
  assert.equal(await store.refreshAndGet(session), null);
});
