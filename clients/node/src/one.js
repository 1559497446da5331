/** The operations on one session. */

import { Bound, Patched } from "./answers.js";
import { removedFrom, toldName } from "./batch.js";
import { CHANGES, changesOf } from "./changes.js";
import { settle } from "./declared.js";
import { decodeEntries, Entries } from "./entries.js";
import { FrozenError, InvalidError } from "./errors.js";
import { checkName, checkSessionId, checkTask, requireName } from "./ids.js";
import {
  checkFlag,
  checkInstance,
  checkInteger,
  checkIntegerIfGiven,
  checkOptions,
  checkWord,
  kindOf,
} from "./input.js";
import { lookup, lookupConnection } from "./lookup.js";
import { STATUSES } from "./record.js";
import { errorOf } from "./reply.js";
import { checkedChanges, checkedEntries, checkLifetime, checkTtl } from "./rules.js";
import { Session } from "./session.js";
import { Token } from "./token.js";

/** The ids of four changes. */
const OPERATIONS_BYTES = 32;
const VERSIONS = [1, Number.MAX_SAFE_INTEGER];
const NEW = ["id", "user", "connection", "node", "status", "ttlMs", "lifetimeMs", "attributes", "extensions"];

export async function create(operation, given) {
  return make(operation, draftOf(operation, given));
}

/** A new session whose fields are checked: what the scripts take of it. */
export function draftOf(operation, given) {
  checkOptions("session", given, NEW);
  const { rules, partitions } = operation;
  const routing = routingOf(given);
  const node = nodeOf(operation, given.node);
  const { id: chosen = partitions.newId(operation.id, routing.user) } = given;
  const { status = "active", ttlMs = rules.ttlMs, lifetimeMs = rules.maxLifetimeMs } = given;
  const id = partitions.idOf("id", chosen);
  partitions.check("id", id, routing.user);
  const draft = {
    id,
    token: tokenOf(chosen),
    ...routing,
    node,
    op_id: operation.id.bytes,
    status: checkWord("status", status, STATUSES),
    ttl_ms: checkTtl(ttlMs),
    lifetime_ms: lifetimeMs === undefined ? 0 : checkLifetime(lifetimeMs),
    entries: checkedEntries(
      rules,
      Entries.of(given.attributes, "attributes"),
      Entries.of(given.extensions, "extensions"),
    ),
  };
  operation.enter(id);
  return draft;
}

export async function make(operation, draft) {
  const { reply, evicted, reaped } = await settle(operation, "create", draft);
  return { session: madeOf(draft, expect(reply, "ok")), token: draft.token, evicted, reaped };
}

/** The session as it was made. */
export function madeOf({ id, user, connection, node, status, ttl_ms: ttl, lifetime_ms: lifetime, entries }, reply) {
  const { version, created_at, expires_at } = reply;
  const deadline = lifetime === 0 ? 0 : created_at + lifetime;
  const times = { version, ttl, created_at, last_active: created_at, expires_at, deadline };
  return new Session(id, { user, connection, node, ...times, status, entries: decodeEntries(entries) });
}

/** The token that a session is made with; null: its client holds the id. */
export function tokenOf(chosen) {
  return chosen instanceof Token ? chosen : null;
}

export async function get(operation, id) {
  return (await lookup(operation, operation.partitions.idOf("id", id)))?.session ?? null;
}

export async function update(operation, session) {
  checkInstance("session", session, Session);
  const given = wholeOf(operation, session);
  const values = { ...given, ...declaredOf(operation, session) };
  const { reply, id } = await settle(operation, "update", values);
  const { new_user: user, new_connection: connection, new_node: node } = given;
  Session.saved(session, id, expect(reply, "ok"), { user, connection, node });
}

/** What a copy in hand says of a session, checked: its fields are the caller's to change. */
function wholeOf(operation, session) {
  if (session.status === "migrating") throw new FrozenError();
  const routing = routingOf(session);
  operation.partitions.check("user", checkSessionId("session", session.id), routing.user);
  checkInstance("attributes", session.attributes, Entries);
  checkInstance("extensions", session.extensions, Entries);
  return {
    version: checkInteger("version", session.version, ...VERSIONS),
    ...renewed(routing),
    status: checkWord("status", session.status, STATUSES),
    ttl_ms: checkTtl(session.ttlMs),
    entries: checkedEntries(operation.rules, session.attributes, session.extensions),
  };
}

export async function patch(operation, target, changes) {
  checkOptions("changes", changes, [...CHANGES, "status", "ttlMs", "lifetimeMs", "version"]);
  const { status, ttlMs, lifetimeMs, version } = changes;
  const list = changesOf(changes);
  const { reply, id } = await settle(operation, "patch", {
    ...declaredOf(operation, target),
    version: checkIntegerIfGiven("version", version, ...VERSIONS),
    status: status === undefined ? undefined : checkWord("status", status, STATUSES),
    ttl_ms: ttlMs === undefined ? undefined : checkTtl(ttlMs),
    new_lifetime_ms: lifetimeMs === undefined ? undefined : checkLifetime(lifetimeMs),
    changes: checkedChanges(operation.rules, list),
  });
  expect(reply, "ok", "unchanged");
  const times = { lastActiveMs: reply.last_active, expiresAtMs: reply.expires_at };
  const answer = { id, version: reply.version, ...times, changed: reply.word === "ok" };
  return new Patched(answer, { list, status, ttlMs, lifetimeMs });
}

export async function bind(operation, target, binding) {
  checkOptions("binding", binding, ["connection", "node", "takeOver"]);
  const { reply, id, reaped, isAgain } = await settle(operation, "bind", {
    ...declaredOf(operation, target),
    new_connection: requireName("connection", binding.connection),
    new_node: nodeOf(operation, binding.node),
    policy: checkFlag("takeOver", binding.takeOver ?? false) ? "takeover" : "refuse",
  });
  expect(reply, "ok", "unchanged");
  // Another call under the same operation id may have declared otherwise.
  const isKnown = !isAgain || operation.isTheOnlyOne;
  return new Bound({
    id,
    version: reply.version,
    previousConnection: (isKnown && reply.connection) || null,
    previousNode: (isKnown && reply.node) || null,
    takenFrom: toldName(reply.holder_id),
    reaped,
    changed: reply.word === "ok",
  });
}

const UNBOUND = { ok: "detached", unchanged: "notBound", missing: "missing" };

export async function unbind(operation, target, connection) {
  const values = { ...declaredOf(operation, target), connection: requireName("connection", connection) };
  const { reply } = await settle(operation, "unbind", values);
  return UNBOUND[expect(reply, ...Object.keys(UNBOUND)).word];
}

export async function remove(operation, target) {
  const { reply, id, values } = await settle(operation, "delete", declaredOf(operation, target));
  if (expect(reply, "ok", "missing").word === "missing") return null;
  return removedFrom(id, values);
}

export async function exported(operation, id) {
  const found = await lookup(operation, operation.partitions.idOf("id", id));
  return found && { session: found.session, operations: found.operations };
}

const IMPORTED = { ok: "imported", unchanged: "unchanged", missing: "missing", expired: "missing" };

export async function imported(operation, exported, options) {
  checkOptions("options", options, ["replaces", "incoming"]);
  checkExport(exported);
  const { incoming } = options;
  const { replaces = incoming ? "nothing" : "older" } = options;
  const { reply } = await settle(operation, "import", {
    ...importOf(operation, exported),
    replaces: replacedBy(replaces),
    ...(incoming !== undefined && incomingOf(incoming, replaces, exported.session)),
  });
  return IMPORTED[expect(reply, ...Object.keys(IMPORTED)).word];
}

function checkExport(exported) {
  checkOptions("exported", exported, ["session", "operations"]);
  checkInstance("session", exported.session, Session);
  const { operations } = exported;
  if (!(operations instanceof Uint8Array) || operations.length !== OPERATIONS_BYTES) {
    throw new InvalidError("operations", `must be a buffer of ${OPERATIONS_BYTES} bytes`);
  }
}

/** What the script takes of a session that was exported, once that is checked. */
export function importOf(operation, { session, operations }) {
  const time = (field) => checkInteger(field, session[field], 0, Number.MAX_SAFE_INTEGER);
  return {
    ...wholeOf(operation, session),
    // Where the session is here already, its owners are mostly the same.
    ...declaredOf(operation, session),
    created_at_ms: time("createdAtMs"),
    last_active_ms: time("lastActiveMs"),
    expires_at_ms: time("expiresAtMs"),
    deadline_ms: session.deadlineMs === null ? 0 : time("deadlineMs"),
    operations: Buffer.from(operations),
  };
}

function replacedBy(replaces) {
  if (replaces === "older") return "";
  if (replaces === "nothing") return 0;
  if (typeof replaces === "number") return checkInteger("replaces", replaces, ...VERSIONS);
  throw new InvalidError("replaces", `is ${kindOf(replaces)}, must be "older", "nothing" or a version`);
}

/** By which migration a session comes. */
function incomingOf(incoming, replaces, session) {
  checkOptions("incoming", incoming, ["task", "untilMs", "place", "node"]);
  if (replaces !== "nothing") throw new InvalidError("replaces", "must be nothing, for what comes by a migration");
  const { task, untilMs, place } = incoming;
  const node = checkName("node", incoming.node);
  return {
    task: checkTask(task),
    until_ms: checkUntil(untilMs),
    place: checkName("place", place),
    // One that has the node already comes as it is.
    ...(node !== "" && node !== session.node && { new_connection: "", new_node: node, hand_over: "yes" }),
  };
}

/** When a freeze is over. */
export function checkUntil(untilMs) {
  return checkInteger("untilMs", untilMs, 0, Number.MAX_SAFE_INTEGER);
}

export async function byConnection(operation, connection) {
  return lookupConnection(operation, requireName("connection", connection));
}

/** The reply, if it has one of these words; else its error. */
export function expect(reply, ...words) {
  if (!words.includes(reply.word)) throw errorOf(reply);
  return reply;
}

/** What a call knows of the session that it acts on. */
export function declaredOf({ partitions }, target) {
  const declared = Session.declared(target);
  return { ...declared, id: partitions.idOf("id", declared.id) };
}

function routingOf({ user, connection, node }) {
  return {
    user: checkName("user", user),
    connection: checkName("connection", connection),
    node: checkName("node", node),
  };
}

/** Where a session comes: to the node that makes the call, if one does. */
function nodeOf({ identity }, name) {
  const node = checkName("node", name);
  if (identity && node !== "" && node !== identity.node) {
    throw new InvalidError("node", "is not that of the node that makes the call");
  }
  return node || (identity?.node ?? "");
}

function renewed({ user, connection, node }) {
  return { new_user: user, new_connection: connection, new_node: node };
}
