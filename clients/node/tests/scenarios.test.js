import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import * as cloakroom from "../src/index.js";

const SCENARIOS = new URL("../../../lua/scenarios/", import.meta.url);
/** By the words of the scenarios; the first that an error is one of. */
const FAILURES = {
  ambiguous: cloakroom.AmbiguousError,
  not_executed: cloakroom.NotExecutedError,
  corrupt: cloakroom.CorruptError,
  missing: cloakroom.MissingError,
  exists: cloakroom.ExistsError,
  gone: cloakroom.GoneError,
  conflict: cloakroom.ConflictError,
  limit: cloakroom.LimitError,
  large: cloakroom.TooLargeError,
  frozen: cloakroom.FrozenError,
  taken: cloakroom.TakenError,
  departed: cloakroom.DepartedError,
  rotated: cloakroom.MovedError,
  other_contract: cloakroom.ContractError,
  other_id_scheme: cloakroom.IdSchemeError,
  invalid: cloakroom.InvalidError,
};

/** The scenarios' rules, as this client names them. */
function rulesOf({ touch_ms: touchInterval = 0, limit: sessionsPerUser = 0, policy: onLimit = "reject" } = {}) {
  return { touchInterval, sessionsPerUser, onLimit };
}

/** The calls of the scenarios, in the words of this client. */
const CALLS = {
  connect: async () => ({}),
  get: async (store, { id }) => shown(found(await store.get(id))),
  refresh: async (store, { id }) => found(await store.refresh(id)),
  create: async (store, session) => {
    const { session: made, evicted } = await store.create(session);
    return { id: made.id, version: made.version, evicted: idsOf(evicted) };
  },
  patch: async (store, { id, set }) => store.patch(id, { set }),
  update: async (store, { id, set }) => {
    const session = found(await store.get(id));
    for (const [key, value] of Object.entries(set)) session.attributes.set(key, value);
    await store.update(session);
    return { id: session.id, version: session.version };
  },
  rotate: async (store, { id, new_id: newId }) => {
    const { session, byAnother } = await store.rotate(id, { newId });
    return { ...shown(session), by_another: byAnother };
  },
  bind: async (store, { id, connection, take_over: takeOver = false }) => {
    const bound = await store.bind(id, { connection, takeOver });
    return { id: bound.id, version: bound.version, reaped: idsOf(bound.reaped) };
  },
  delete: async (store, { id }) => ({ deleted: Boolean(await store.delete(id)) }),
  delete_user: async (store, { user }) => ({ ids: idsOf((await store.deleteUser(user)).removed) }),
  list: async (store, { user, page: size }) => {
    const ids = [];
    for (let after; after !== null; ) {
      const { sessions, next } = await store.list({ user }, after ? { size, after } : { size });
      ids.push(...idsOf(sessions));
      after = next;
    }
    return { ids };
  },
  expired: async (store) => ({ ids: idsOf(await store.expired()) }),
  reap: async (store) => {
    const { sessions, corrupt } = await store.reap();
    return { ids: idsOf(sessions), corrupt };
  },
};

const idsOf = (those) => those.map(({ id }) => id);

/** An answer; where there is none, no session is there. */
function found(answer) {
  if (answer === null) throw new cloakroom.MissingError();
  return answer;
}

function shown(session) {
  const { id, user, connection, node, status, version } = session;
  const attributes = Object.fromEntries([...session.attributes.keys()].map((key) => [key, session.attributes.json(key)]));
  return { id, user: user ?? "", connection: connection ?? "", node: node ?? "", status, version, attributes };
}

/** What a call comes to, of an answer what the scenario names of it; and the operation id that a failure names. */
async function outcome(run, expected) {
  try {
    const answer = await run();
    const names = Object.keys(expected.answer ?? answer);
    return [{ answer: Object.fromEntries(names.map((name) => [name, answer[name]])) }];
  } catch (error) {
    const [word = error.name] = Object.entries(FAILURES).find(([, kind]) => error instanceof kind) ?? [];
    const told = { version: error.version, live: error.live, place: error.place, key: error.what };
    const names = Object.keys(expected.told ?? {});
    const named = names.length > 0 && { told: Object.fromEntries(names.map((name) => [name, told[name]])) };
    return [{ failure: word, ...named }, error.operationId];
  }
}

/** Values that JavaScript cannot hold are compared as the texts that they came as. */
function textsOf(expected) {
  const { answer } = expected;
  if (!answer?.attributes) return expected;
  const texts = Object.entries(answer.attributes).map(([key, value]) => [key, JSON.stringify(value)]);
  return { ...expected, answer: { ...answer, attributes: Object.fromEntries(texts) } };
}

async function play(file, scenario) {
  const player = spawn(fileURLToPath(new URL("play", SCENARIOS)), [file, scenario.name], { stdio: ["pipe", "pipe", "inherit"] });
  const exited = once(player, "exit");
  const lines = createInterface({ input: player.stdout })[Symbol.asyncIterator]();
  const { port } = JSON.parse((await lines.next()).value);
  let store, operationId;
  try {
    for (const { operation, with: given = {}, repeats, ...rest } of scenario.calls) {
      const expected = textsOf(rest);
      const run = async () => {
        const options = { namespace: "scenario", rules: rulesOf(scenario.rules), deadline: scenario.deadline_ms ?? 20_000 };
        store ??= await cloakroom.Cloakroom.connect(`redis://127.0.0.1:${port}`, options);
        return CALLS[operation](repeats ? store.withOperationId(operationId) : store, given);
      };
      const [cameTo, id] = await outcome(run, expected);
      operationId = id;
      assert.deepEqual(cameTo, expected);
    }
  } finally {
    await store?.close();
    player.stdin.end();
    const { differences } = JSON.parse((await lines.next()).value);
    await exited;
    assert.deepEqual(differences, []);
  }
}

for (const file of readdirSync(SCENARIOS).filter((name) => name.endsWith(".json"))) {
  const { scenarios } = JSON.parse(readFileSync(new URL(file, SCENARIOS), "utf8"));
  for (const scenario of scenarios) test(`${file}: ${scenario.name}`, () => play(file, scenario));
}
