import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { inspect } from "node:util";
import { IdSchemeError, InvalidError, MovedError, OperationId, PartitionsError, Token } from "../src/index.js";
import { Partitions } from "../src/partitions.js";
import { startServer } from "./support/server.js";

const server = await startServer();
const redis = (...args) => server.admin.sendCommand(args);
const rules = { idScheme: "token" };
const cases = JSON.parse(readFileSync(new URL("../../../lua/tokens.json", import.meta.url)));

test("tokens have the ids that all languages compute, and what is none is refused", () => {
  for (const { token: text, id } of cases.tokens) {
    const token = Token.parse(text);
    assert.deepEqual([token.id, token.expose()], [id, text]);
    assert.throws(() => Token.parse(id), (error) => error instanceof InvalidError && !error.message.includes(id));
  }
  for (const text of [...cases.refused, undefined, null, 7]) {
    assert.throws(() => Token.parse(text), { message: 'token must be "ckt_" and 43 digits of base64url' });
  }
});

test("a token shows itself nowhere but where it is asked to", () => {
  const token = Token.random();
  const secret = token.expose().slice(4);
  const all = inspect({ token }, { depth: 9, showHidden: true, getters: true });
  for (const shown of [String(token), `${token}`, inspect(token), all, JSON.stringify({ token })]) {
    assert.ok(!shown.includes(secret) && shown.includes(token.id), shown);
  }
  assert.notEqual(Token.random().id, token.id);
});

for (const partitions of [1, 16]) {
  const storeOf = () => server.store({ rules, partitions });

  test(`a session that is made comes with the token of its id, of ${partitions}`, async () => {
    const store = await storeOf();
    const made = [await store.create({ user: "ann" }), ...(await store.createMany([{ user: "ann" }, {}, { user: "bob" }]))];
    for (const { token, session } of made) {
      assert.equal(token.id, session.id);
      assert.equal((await store.get(token)).id, session.id);
    }
    assert.equal(new Set(made.map(({ token }) => token.expose())).size, 4);
    const given = Token.random();
    const { session, token } = await store.create({ id: given });
    assert.deepEqual([session.id, token], [given.id, given]);
    const fitting = store.newId("ann");
    assert.equal((await store.create({ id: fitting, user: "ann" })).token, fitting);
    // Who names an id has the token, if there is one.
    assert.equal((await store.create({ id: "device-7" })).token, null);
  });

  test(`a token is taken where an id is, of ${partitions}`, async () => {
    const store = await storeOf();
    const { token } = await store.create({ user: "ann" });
    assert.equal((await store.patch(token, { set: { color: "red" } })).version, 2);
    assert.ok((await store.bind(token, { connection: "c" })).changed);
    assert.equal((await store.refresh(token)).version, 3);
    assert.equal((await store.refreshAndGet(token)).get("color"), "red");
    assert.equal(await store.unbind(token, "c"), "detached");
    assert.deepEqual((await store.getMany([token])).map(({ id }) => id), [token.id]);
    assert.deepEqual((await store.refreshMany([token])).map(({ id }) => id), [token.id]);
    assert.equal((await store.export(token)).session.id, token.id);
    assert.ok(await store.knows(token));
    assert.deepEqual((await store.deleteUser("ann", { keep: token })).removed, []);
    const task = Buffer.from("the task");
    assert.equal((await store.freeze(token, task, "east")).exported.session.id, token.id);
    assert.equal(await store.thaw(token, task, "outgoing"), "thawed");
    const rotated = await store.rotate(token);
    assert.equal((await store.get(rotated.token)).id, rotated.session.id);
    assert.deepEqual((await store.deleteMany([rotated.token])).map(({ id }) => id), [rotated.token.id]);
    assert.deepEqual([await store.get(token), await store.get(rotated.token)], [null, null]);
  });

  test(`a rotation gives a token to the one that made it alone, of ${partitions}`, async () => {
    const store = await storeOf();
    const { session: visitor } = await store.create();
    const first = await store.rotate(visitor);
    assert.equal(first.token.id, first.session.id);
    // Who is second could not hand its client the new token: it is told that there is one.
    await assert.rejects(store.rotate(visitor), (error) => error instanceof MovedError && error.newId === null);
    // A login, which with several partitions is made in steps.
    for (let number = 0; number < 8; number++) {
      const before = await store.create();
      const login = await store.rotate(before.token, { user: `user-${number}` });
      assert.equal((await store.get(login.token)).user, `user-${number}`);
      await assert.rejects(store.get(before.token), MovedError);
    }
  });

  test(`a call that is repeated answers the same token, of ${partitions}`, async () => {
    const store = await storeOf();
    const { session: visitor } = await store.create();
    const twice = async (call) => {
      const again = store.withOperationId(new OperationId());
      const answers = [await call(again), await call(again)].map((made) => [made].flat().map(({ token }) => token.expose()));
      assert.deepEqual(answers[0], answers[1]);
    };
    await twice((again) => again.create({ user: "ann" }));
    await twice((again) => again.rotate(visitor, { user: "ann" }));
    await twice((again) => again.createMany([{}, {}, {}]));
  });

  test(`a store of another scheme does not start, of ${partitions}`, async () => {
    const { namespace } = await storeOf();
    assert.equal(await redis("GET", `{${namespace}:0}:contract`), `1 ${partitions} token`);
    await assert.rejects(server.store({ namespace }), (error) => {
      return error instanceof IdSchemeError && error.found === "token" && error.wanted === "uuid";
    });
    await assert.rejects(server.store({ namespace, partitions: 2 }), PartitionsError);
    await server.store({ namespace, rules });
    for (const [noted, idScheme] of [["", "uuid"], [" uuid 7", "uuid"], [" token 7", "token"]]) {
      const { tags } = new Partitions(namespace, partitions);
      for (const tag of tags) await redis("SET", `${tag}:contract`, `1 ${partitions}${noted}`);
      await server.store({ namespace, rules: { idScheme } });
      const other = idScheme === "uuid" ? "token" : "uuid";
      await assert.rejects(server.store({ namespace, rules: { idScheme: other } }), IdSchemeError);
    }
  });
}

test("nothing that is stored or told has the token in it", async () => {
  const store = await server.store({ rules, partitions: 16 });
  const login = await store.rotate((await store.create()).token, { user: "ann" });
  const secret = login.token.expose().slice(4);
  assert.ok(!inspect(login, { depth: 9 }).includes(secret) && !JSON.stringify(login).includes(secret));
  for (const key of await server.admin.keys(`{${store.namespace}:*`)) {
    assert.ok(!key.includes(secret));
    assert.ok(!(await redis("DUMP", key)).includes(secret));
  }
  // A page of a user's devices may show the ids, and end one of them by it.
  const { sessions } = await store.list({ user: "ann" });
  assert.ok(await store.delete(sessions[0].id));
  assert.equal(await store.get(login.token), null);
});

test("a token is no id, and an id no token", async () => {
  const tokens = await server.store({ rules });
  const uuids = await server.store();
  const { token } = await tokens.create();
  const calls = [
    (store, id) => store.get(id),
    (store, id) => store.refresh(id),
    (store, id) => store.patch(id, {}),
    (store, id) => store.rotate(id),
    (store, id) => store.delete(id),
    (store, id) => store.knows(id),
    (store, id) => store.export(id),
    (store, id) => store.create({ id }),
  ];
  for (const call of calls) {
    for (const store of [tokens, uuids]) {
      await assert.rejects(call(store, token.expose()), (error) => {
        return error instanceof InvalidError && /is the text of a token/.test(error.message) && !error.message.includes(token.expose());
      });
    }
    await assert.rejects(call(uuids, token), /whose ids are none of tokens/);
  }
  await assert.rejects(server.store({ rules: { idScheme: "both" } }), InvalidError);
});
