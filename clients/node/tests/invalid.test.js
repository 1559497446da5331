import assert from "node:assert/strict";
import { test } from "node:test";
import { Cloakroom, Cursor, InvalidError, NodeIdentity, OperationId, RawJson, Token } from "../src/index.js";
import { startServer } from "./support/server.js";

const server = await startServer();
const TASK = Buffer.from("the task");
const LONGEST = 10 * 365 * 24 * 3600 * 1000;

const lone = "a\ud800";
const notText = [7, 7n, true, {}, [], Symbol("s"), () => {}, NaN, Buffer.from("x")];
const notObjects = [null, 7, 7n, "text", true, [], Symbol("s"), () => {}];
const notNumbers = [null, "7", 7n, true, {}, [], Symbol("s"), NaN, Infinity, -Infinity, 1.5, -1, Object.create(null)];
const notFlags = [1, 0, "true", {}, []];
const notLists = [7, "text", {}, new Set(), () => {}, true];
const nested = (depth) => JSON.parse("[".repeat(depth) + "]".repeat(depth));
const circular = [];
circular.push(circular);

/** Of each kind of argument what is none, beside what is told of all. */
const badNames = [...notText, lone, "x".repeat(257), "ü".repeat(129)];
const badNamesThatHaveToBeGiven = [...badNames, "", null, undefined];
const badIds = [...notText, lone, "", null, "x".repeat(129), "ü".repeat(65), Token.random(), Token.random().expose()];
const badIdsThatHaveToBeGiven = [...badIds, undefined];
const badKeys = ["", lone, "x".repeat(256), "ü".repeat(128)];
const badValues = [
  undefined,
  () => {},
  Symbol("s"),
  NaN,
  Infinity,
  circular,
  lone,
  [lone],
  { [lone]: 1 },
  [undefined],
  [NaN],
  { a: () => {} },
  [7n],
  [new RawJson("1")],
  new Map(),
  new Set(),
  new Uint8Array(1),
  nested(128),
  new Date(NaN),
  {
    get a() {
      throw new Error("no");
    },
  },
  {
    toJSON() {
      throw new Error("no");
    },
  },
  { toJSON: () => undefined },
];
const badMaps = [
  ...[null, 7, 7n, "text", true, [], Symbol("s"), () => {}, new Set(["a"])],
  ...badKeys.map((key) => ({ [key]: 1 })),
  new Map([[7, 1]]),
  ...badValues.map((value) => ({ a: value })),
  { a: "x".repeat(200) },
];
const badKeyLists = [...notLists, null, ...[...badKeys, ...notText, null, undefined].map((key) => [key])];
const integers = (least, most) => [...notNumbers, least - 1, most + 1];
const word = ["other", "", null, 7, {}, []];
const badTasks = [undefined, null, "the task", Buffer.alloc(8), Buffer.alloc(7, 1), Buffer.alloc(9, 1), 7, {}];
const badTimes = integers(0, Number.MAX_SAFE_INTEGER).filter((value) => value !== Number.MAX_SAFE_INTEGER + 1);
const versions = badTimes.concat(0);
const lifetimes = integers(1, LONGEST);
const changes = {
  set: badMaps,
  setExtensions: badMaps,
  remove: badKeyLists,
  removeExtensions: badKeyLists,
};

/** A table of options: each bad value of each, and an option that there is not. */
function options(field, table, call) {
  const rows = Object.entries(table).flatMap(([name, bad]) => bad.map((value) => [name, value, () => call({ [name]: value })]));
  const whole = notObjects.map((value) => [field, value, () => call(value)]);
  return [...rows, ...whole, [field, "a name of none", () => call({ bogus: 1 })]];
}

function argument(field, bad, call) {
  return bad.map((value) => [field, value, () => call(value)]);
}

const store = await server.store({ rules: { valueBytes: 100 } });
const { session } = await store.create({ id: "s", user: "ann", attributes: { a: 1 } });
const exported = await store.export("s");
const identity = new NodeIdentity("n");

/** Of each method, each argument. */
const calls = {
  withOperationId: argument("id", [undefined, null, 7, "x", {}], (id) => store.withOperationId(id)),
  asNode: argument("identity", [undefined, null, 7, "n", {}], (it) => store.asNode(it)),
  newId: argument("user", badNames, (user) => store.newId(user)),
  create: options(
    "session",
    {
      id: badIds,
      user: badNames,
      connection: badNames,
      node: badNames,
      status: [...word, "migrating"],
      ttlMs: lifetimes.concat(0),
      lifetimeMs: lifetimes.concat(0),
      attributes: badMaps,
      extensions: badMaps,
    },
    (given) => store.create(given),
  ),
  createMany: argument("sessions", [...notLists, null, undefined], (given) => store.createMany(given)),
  get: argument("id", badIdsThatHaveToBeGiven, (id) => store.get(id)),
  getMany: argument("ids", [...notLists, null, undefined], (ids) => store.getMany(ids)),
  update: [
    ...argument("session", [undefined, null, 7, "s", { ...session }, [session]], (it) => store.update(it)),
    ...Object.entries({
      user: badNames,
      connection: badNames,
      node: badNames,
      status: [...word, undefined],
      ttlMs: [...lifetimes, undefined],
      version: [...versions, undefined],
      attributes: [undefined, null, {}, new Map()],
      extensions: [undefined, null, {}, new Map()],
    }).flatMap(([name, bad]) =>
      bad.map((value) => [name, value, async () => store.update(Object.assign(await store.get("s"), { [name]: value }))]),
    ),
  ],
  patch: [
    ...argument("id", badIdsThatHaveToBeGiven, (target) => store.patch(target, { set: { a: 1 } })),
    ...options(
      "changes",
      { ...changes, status: [...word, "migrating"], ttlMs: lifetimes, lifetimeMs: lifetimes, version: versions },
      (given) => store.patch("s", given),
    ),
    ["changes", undefined, () => store.patch("s")],
  ],
  refresh: argument("id", badIdsThatHaveToBeGiven, (target) => store.refresh(target)),
  refreshMany: argument("sessions", [...notLists, null, undefined], (targets) => store.refreshMany(targets)),
  refreshAndGet: argument("id", badIdsThatHaveToBeGiven, (target) => store.refreshAndGet(target)),
  rotate: [
    ...argument("id", badIdsThatHaveToBeGiven, (target) => store.rotate(target)),
    ...options(
      "rotation",
      {
        ...changes,
        newId: badIds.filter((id) => id !== null),
        user: [...badNames, ""],
        anonymous: notFlags,
        keepDeadline: notFlags,
        ttlMs: lifetimes,
        lifetimeMs: lifetimes,
      },
      (given) => store.rotate("s", given),
    ),
    ["anonymous", "and a user", () => store.rotate("s", { anonymous: true, user: "ann" })],
  ],
  bind: [
    ...argument("id", badIdsThatHaveToBeGiven, (target) => store.bind(target, { connection: "c" })),
    ...options("binding", { connection: badNamesThatHaveToBeGiven }, (given) => store.bind("s", given)),
    ...argument("node", badNames, (node) => store.bind("s", { connection: "c", node })),
    ...argument("takeOver", notFlags, (takeOver) => store.bind("s", { connection: "c", takeOver })),
  ],
  unbind: [
    ...argument("id", badIdsThatHaveToBeGiven, (target) => store.unbind(target, "c")),
    ...argument("connection", badNamesThatHaveToBeGiven, (connection) => store.unbind("s", connection)),
  ],
  delete: argument("id", badIdsThatHaveToBeGiven, (target) => store.delete(target)),
  deleteMany: argument("sessions", [...notLists, null, undefined], (targets) => store.deleteMany(targets)),
  export: argument("id", badIdsThatHaveToBeGiven, (id) => store.export(id)),
  import: [
    ...argument("exported", [...notObjects, undefined], (it) => store.import(it)),
    ...argument("session", [undefined, null, {}, "s"], (it) => store.import({ ...exported, session: it })),
    ...argument("operations", [undefined, null, "x", Buffer.alloc(31)], (it) => store.import({ ...exported, operations: it })),
    ...options(
      "options",
      { replaces: [...versions, "other", null, "", {}] },
      (given) => store.import(exported, given),
    ),
    ...options(
      "incoming",
      { task: badTasks },
      (incoming) => store.import(exported, { incoming: incoming === null ? 7 : incoming }),
    ),
    ...argument("untilMs", [...badTimes, undefined], (untilMs) => store.import(exported, { incoming: { task: TASK, untilMs, place: "w" } })),
    ...argument("place", badNames, (place) => store.import(exported, { incoming: { task: TASK, untilMs: 1, place } })),
    ...argument("node", badNames, (node) => store.import(exported, { incoming: { task: TASK, untilMs: 1, place: "w", node } })),
    ["replaces", "beside what is incoming", () => store.import(exported, { replaces: 1, incoming: { task: TASK, untilMs: 1, place: "w" } })],
    ...["createdAtMs", "lastActiveMs", "expiresAtMs", "deadlineMs"].flatMap((name) =>
      [...badTimes.filter((value) => value !== null), undefined].map((value) => [
        name,
        value,
        async () => store.import({ ...exported, session: Object.assign(await store.get("s"), { [name]: value }) }),
      ]),
    ),
  ],
  sessionByConnection: argument("connection", badNamesThatHaveToBeGiven, (connection) => store.sessionByConnection(connection)),
  explain: argument("id", badIdsThatHaveToBeGiven, (id) => store.explain(id)),
  list: [
    ...options("of", { user: badNamesThatHaveToBeGiven.slice(0, -1), node: badNamesThatHaveToBeGiven.slice(0, -1) }, (of) => store.list(of)),
    ...argument("of", [undefined, {}, { user: "a", node: "b" }, { user: undefined }], (of) => store.list(of)),
    ...options(
      "page",
      { size: [...integers(1, 500), 0], after: [null, 7, {}, "", "x", "1.x.s", "1.1.", { createdAtMs: 1, id: "s", ties: 1 }] },
      (page) => store.list({ user: "ann" }, page),
    ),
  ],
  count: options("of", { user: badNamesThatHaveToBeGiven.slice(0, -1) }, (of) => store.count(of)),
  deleteUser: [
    ...argument("user", badNamesThatHaveToBeGiven, (user) => store.deleteUser(user)),
    ...options("options", { keep: badIds }, (given) => store.deleteUser("ann", given)),
  ],
  expired: options(
    "page",
    { beforeMs: badTimes, skip: badTimes, limit: [...integers(1, 1000), 0] },
    (page) => store.expired(page),
  ),
  reap: argument("batch", [...integers(1, 200), 0], (batch) => store.reap(batch)),
  heartbeat: [
    ...argument("identity", [undefined, null, 7, "n", {}], (it) => store.heartbeat(it)),
    ...options(
      "beat",
      { want: word, leaseMs: [...integers(1, 24 * 3_600_000), 0], keepMs: [...integers(1000, LONGEST), 999] },
      (beat) => store.heartbeat(identity, beat),
    ),
  ],
  recover: [
    ...argument("node", badNamesThatHaveToBeGiven, (node) => store.recover(node, "n")),
    ...argument("to", [...badNamesThatHaveToBeGiven, "m"], (to) => store.recover("m", to)),
    ["to", "another node", () => store.asNode(identity).recover("m", "k")],
    ...options(
      "claim",
      { batch: [...integers(1, 200), 0], reconnectMs: [...integers(1, LONGEST), 0], evenIfLeased: notFlags, after: [null, 7, {}, "x"] },
      (claim) => store.recover("m", "n", claim),
    ),
  ],
  freeze: [
    ...argument("id", badIdsThatHaveToBeGiven, (target) => store.freeze(target, TASK, "east")),
    ...argument("task", badTasks, (task) => store.freeze("s", task, "east")),
    ...argument("place", badNames, (place) => store.freeze("s", TASK, place)),
    ...options("options", { node: badNames, spanMs: [...integers(1, 3_600_000), 0] }, (given) => store.freeze("s", TASK, "east", given)),
  ],
  depart: [
    ...argument("id", badIdsThatHaveToBeGiven, (target) => store.depart(target, TASK, 1)),
    ...argument("task", badTasks, (task) => store.depart("s", task, 1)),
    ...argument("untilMs", [...badTimes, undefined], (untilMs) => store.depart("s", TASK, untilMs)),
  ],
  thaw: [
    ...argument("id", badIdsThatHaveToBeGiven, (target) => store.thaw(target, TASK, "outgoing")),
    ...argument("task", badTasks, (task) => store.thaw("s", task, "outgoing")),
    ...argument("direction", [...word, undefined], (direction) => store.thaw("s", TASK, direction)),
  ],
  clean: [
    ...argument("id", badIdsThatHaveToBeGiven, (target) => store.clean(target, TASK, "departed")),
    ...argument("task", badTasks, (task) => store.clean("s", task, "departed")),
    ...argument("what", [...word, undefined], (what) => store.clean("s", TASK, what)),
    ...argument("untilMs", [...badTimes, undefined], (untilMs) => store.clean("s", TASK, "copy", { untilMs })),
    ["untilMs", "of what is no copy", () => store.clean("s", TASK, "departed", { untilMs: 1 })],
    ...argument("options", notObjects, (given) => store.clean("s", TASK, "copy", given)),
  ],
  migrations: options("page", { skip: badTimes, limit: [...integers(1, 200), 0] }, (page) => store.migrations(page)),
  knows: argument("id", badIdsThatHaveToBeGiven, (id) => store.knows(id)),
  events: [
    ...argument("from", [null, 7, {}, []], (from) => store.events(from)),
    ...options("options", { intervalMs: [...integers(1, 60_000), 0] }, (given) => store.events("now", given)),
    ["events", "a namespace without", () => store.events()],
  ],
  eventsOfNode: argument("node", badNamesThatHaveToBeGiven, (node) => store.eventsOfNode(node)),
};

/** What takes nothing that could be bad. */
const WITHOUT_ARGUMENTS = ["nodes", "lapsedNodes", "close"];

test("each method and each of its arguments is in the table", () => {
  const { constructor, ...methods } = Object.getOwnPropertyDescriptors(Cloakroom.prototype);
  const all = Object.keys(methods).filter((name) => typeof methods[name].value === "function");
  assert.deepEqual(Object.keys(calls).concat(WITHOUT_ARGUMENTS).sort(), all.sort());
});

for (const [method, rows] of Object.entries(calls)) {
  test(`bad input of ${method} is named, and nothing is sent`, async () => {
    for (const row of rows) await assertInvalid(row);
  });
}

async function assertInvalid([field, value, call]) {
  const told = `${field}: ${typeof value === "object" ? JSON.stringify(value instanceof Token ? "token" : shown(value)) : String(value)}`;
  const before = await written();
  const error = await Promise.resolve().then(call).then(() => undefined, (thrown) => thrown);
  assert.ok(error instanceof InvalidError, `${told}: ${error && `${error.constructor.name} ${error.message}`}`);
  assert.equal(error.field, field, `${told}: ${error.message}`);
  assert.ok(error.message.startsWith(`${field} `), error.message);
  assert.equal(await written(), before, told);
}

function shown(value) {
  try {
    return String(JSON.stringify(value)).slice(0, 60);
  } catch {
    return "what JSON does not tell";
  }
}

/** How often the server ran scripts or anything that only a store sends. */
async function written() {
  return server.calls("evalsha");
}

test("one bad member of many is answered, and the others are served", async () => {
  const answers = [
    ...(await store.createMany([null, 7, { bogus: 1 }, { id: "" }])),
    ...(await store.getMany([null, 7, ""])),
    ...(await store.refreshMany([null, undefined, ""])),
    ...(await store.deleteMany([null, {}, ""])),
  ];
  assert.ok(answers.every((answer) => answer instanceof InvalidError));
  const [bad, good] = await store.getMany([null, "s"]);
  assert.deepEqual([bad.field, good.id], ["id", "s"]);
});

const CONNECT = {
  namespace: [null, 7, {}, "", "a{b", "x".repeat(65), lone],
  partitions: [...integers(1, 1024), 0],
  deadlineMs: [...integers(1, 3_600_000), 0],
  maxWaiting: [...integers(1, 1_000_000), 0],
  clock: [7, null, {}, "now"],
  rules: [...notObjects, { ttl: 1 }, { bogus: 1 }],
};

const RULES = {
  idScheme: word,
  ttlMs: lifetimes.concat(0),
  maxLifetimeMs: lifetimes.concat(0),
  idleTimeoutMs: lifetimes.concat(0),
  refreshThreshold: [...notNumbers.filter((value) => value !== 1.5), 0, 1.1],
  touchIntervalMs: [...notNumbers, LONGEST],
  graceMs: integers(1000, LONGEST),
  rotationGraceMs: integers(1, LONGEST),
  tombstoneMs: integers(1, LONGEST),
  sessionsPerUser: [...integers(1, 500), 0],
  onLimit: [...word, "evict"],
  valueBytes: integers(1, 15 * 1024 * 1024),
  sessionBytes: integers(1, 15 * 1024 * 1024),
  sessionEntries: integers(1, 1_000_000),
};

test("bad options and rules are named, and nothing is connected", async () => {
  const connect = (given) => Cloakroom.connect(server.url, given);
  for (const row of options("options", CONNECT, connect)) await assertInvalid(row);
  const rules = options("rules", RULES, (given) => connect({ rules: given }));
  for (const row of rules) await assertInvalid(row);
  for (const beside of [{ ttlMs: 1 }, { refreshThreshold: 1 }, { touchIntervalMs: 0 }]) {
    await assertInvalid(["idleTimeoutMs", beside, () => connect({ rules: { idleTimeoutMs: 60_000, ...beside } })]);
  }
  const urls = [undefined, null, 7, [], () => {}, "", "x", "http://x", "redis://:x:y", "redis+cluster://", lone];
  for (const url of urls) await assertInvalid(["redis", url, () => Cloakroom.connect(url)]);
  for (const url of [7, "", "x"]) await assertInvalid(["redis", url, () => Cloakroom.connect({ url })]);
});

test("bad input of what is no store is named", async () => {
  for (const row of [
    ...argument("node", badNamesThatHaveToBeGiven, (node) => new NodeIdentity(node)),
    ...argument("text", [undefined, null, 7, "", "x", "[", `"\\ud800"`, "[".repeat(128) + "]".repeat(128)], (text) => new RawJson(text)),
    ...argument("token", [undefined, null, 7, "", "ckt_"], (text) => Token.parse(text)),
    ...argument("text", [null, 7, "", "x", "1.1.", "1.1"], (text) => Cursor.parse(text)),
    ...argument("key", [...badKeys, ...notText, null, undefined], (key) => session.set(key, 1)),
    ...argument("value", badValues, (value) => session.set("a", value)),
    ...argument("patched", [undefined, null, {}, 7], (patched) => session.apply(patched)),
  ]) {
    await assertInvalid(row);
  }
  assert.equal(session.get("a"), 1);
  assert.ok(new OperationId());
});
