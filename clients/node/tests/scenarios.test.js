/** The scenarios that all clients share: this client's whole way of a call, before a server that is played. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import * as errors from "../src/errors.js";
import { Cloakroom } from "../src/index.js";

const SCENARIOS = new URL("../../../lua/scenarios/", import.meta.url);

/** By the words of the scenarios; the first that an error is one of. */
const FAILURES = Object.entries({
  ambiguous: errors.AmbiguousError,
  not_executed: errors.NotExecutedError,
  corrupt: errors.CorruptError,
  missing: errors.MissingError,
  exists: errors.ExistsError,
  gone: errors.GoneError,
  conflict: errors.ConflictError,
  limit: errors.LimitError,
  large: errors.TooLargeError,
  frozen: errors.FrozenError,
  taken: errors.TakenError,
  departed: errors.DepartedError,
  rotated: errors.MovedError,
  other_contract: errors.ContractError,
  other_id_scheme: errors.IdSchemeError,
  other_partitions: errors.PartitionsError,
  invalid: errors.InvalidError,
});

/** Where an error has what a scenario says that it tells. */
const TOLD = { version: "version", live: "live", place: "place", key: "what" };

/** The operations in the words of the scenarios. */
const OPERATIONS = {
  connect: () => ({}),
  get: async (store, { id }) => shown(found(await store.get(id))),
  async refresh(store, { id }) {
    const refreshed = found(await store.refresh(id));
    return { id: refreshed.id, version: refreshed.version, changed: refreshed.changed };
  },
  async create(store, given) {
    const { session, evicted } = await store.create(given);
    return { id: session.id, version: session.version, evicted: idsOf(evicted) };
  },
  async patch(store, { id, set }) {
    const patched = await store.patch(id, { set });
    return { id: patched.id, version: patched.version };
  },
  async update(store, { id, set }) {
    const session = found(await store.get(id));
    for (const [key, value] of Object.entries(set)) session.set(key, value);
    await store.update(session);
    return { id: session.id, version: session.version };
  },
  async rotate(store, { id, new_id: newId, user }) {
    const { session, byAnother } = await store.rotate(id, { newId, user });
    return { ...shown(session), by_another: byAnother };
  },
  async bind(store, { id, connection, take_over: takeOver = false }) {
    const bound = await store.bind(id, { connection, takeOver });
    return { id: bound.id, version: bound.version, previous: bound.previousConnection, reaped: idsOf(bound.reaped) };
  },
  delete: async (store, { id }) => ({ deleted: (await store.delete(id)) !== null }),
  delete_user: async (store, { user }) => ({ ids: idsOf((await store.deleteUser(user)).removed) }),
  async list(store, { user, page: size }) {
    const ids = [];
    let page = { next: undefined };
    do {
      page = await store.list({ user }, { size, after: page.next });
      ids.push(...idsOf(page.sessions));
    } while (page.next !== null);
    return { ids };
  },
  expired: async (store) => ({ ids: idsOf(await store.expired()) }),
  async reap(store) {
    const { sessions, corrupt } = await store.reap();
    return { ids: idsOf(sessions), corrupt };
  },
};

const idsOf = (answers) => answers.map(({ id }) => id);

/** An answer; where there is none, no session is there. */
function found(answer) {
  if (answer === null) throw new errors.MissingError();
  return answer;
}

function shown(session) {
  const { id, user, connection, node, status, version, attributes } = session;
  const values = Array.from(attributes.keys(), (key) => [key, attributes.get(key)]);
  return { id, user: user ?? "", connection: connection ?? "", node: node ?? "", status, version, attributes: Object.fromEntries(values) };
}

/** What a call comes to, of an answer what the scenario names of it; and the operation id that a failure names. */
async function outcomeOf(run, { answer: expected, told = {} }) {
  try {
    const answer = await run();
    const names = Object.keys(expected ?? answer);
    return { cameTo: { answer: Object.fromEntries(names.map((name) => [name, answer[name]])) } };
  } catch (error) {
    if (!(error instanceof errors.CloakroomError)) throw error;
    const [word] = FAILURES.find(([, Class]) => error instanceof Class) ?? [error.name];
    const names = Object.keys(told);
    const tells = Object.fromEntries(names.map((name) => [name, error[TOLD[name]]]));
    return { cameTo: { failure: word, ...(names.length > 0 && { told: tells }) }, operationId: error.operationId };
  }
}

const POLICIES = { reject: "reject", evict: "evictOldest" };

function rulesOf({ touch_ms: touchIntervalMs, limit: sessionsPerUser, policy }) {
  return { touchIntervalMs, sessionsPerUser, onLimit: POLICIES[policy] };
}

/** Plays the server of a scenario for as long as something works with it; then it tells what differed. */
async function played(file, name, work) {
  const player = spawn("python3", ["-B", fileURLToPath(new URL("play", SCENARIOS)), file, name], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const lines = createInterface({ input: player.stdout })[Symbol.asyncIterator]();
  const { port } = JSON.parse((await lines.next()).value);
  try {
    await work(`redis://127.0.0.1:${port}`);
  } finally {
    player.stdin.end();
    assert.deepEqual(JSON.parse((await lines.next()).value).differences, []);
  }
}

async function play(file, { name, rules = {}, deadline_ms: deadlineMs = 20_000, calls }) {
  await played(file, name, async (url) => {
    let store;
    let operationId;
    try {
      for (const call of calls) {
        const { answer, failure, told } = call;
        const outcome = await outcomeOf(async () => {
          store ??= await Cloakroom.connect(url, { namespace: "scenario", rules: rulesOf(rules), deadlineMs });
          const at = call.repeats ? store.withOperationId(operationId) : store;
          return OPERATIONS[call.operation](at, call.with ?? {});
        }, call);
        operationId = outcome.operationId;
        const expected = { ...(answer && { answer }), ...(failure && { failure }), ...(told && { told }) };
        assert.deepEqual(outcome.cameTo, expected, JSON.stringify(call));
      }
    } finally {
      await store?.close();
    }
  });
}

for (const file of readdirSync(SCENARIOS).filter((name) => name.endsWith(".json"))) {
  const { scenarios } = JSON.parse(readFileSync(new URL(file, SCENARIOS), "utf8"));
  for (const scenario of scenarios) {
    test(`${file}: ${scenario.name}`, () => play(file, scenario));
  }
}
