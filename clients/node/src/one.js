/** The operations on one session. */

import { toldName } from "./batch.js";
import { settle } from "./declared.js";
import { decodeEntries, Entries, jsonOf, pairs } from "./entries.js";
import { FrozenError, InvalidError } from "./errors.js";
import { checkName, checkSessionId, checkTask, requireName } from "./ids.js";
import { lookup, lookupConnection } from "./lookup.js";
import { errorOf } from "./reply.js";
import { checkedChanges, checkedEntries, checkInteger, checkNames, checkTtl, checkWord } from "./rules.js";
import { Session } from "./session.js";
import { Token } from "./token.js";

const STATUSES = ["active", "suspended"];

export async function create(operation, given) {
  return make(operation, draftOf(operation, given));
}

/** A new session whose fields are checked: what the scripts take of it. */
export function draftOf(operation, given) {
  checkNames("session", given, ["id", "user", "connection", "node", "status", "ttl", "attributes", "extensions"]);
  const { rules } = operation;
  const routing = routingOf(given);
  const { partitions } = operation;
  const { id: chosen = partitions.newId(operation.id, routing.user) } = given;
  const { status = "active", ttl = rules.ttl } = given;
  const id = partitions.idOf(chosen);
  partitions.check(id, routing.user);
  operation.enter(id);
  return {
    id,
    token: tokenOf(chosen),
    ...routing,
    node: nodeOf(operation, given.node),
    op_id: operation.id.bytes,
    status: checkWord("status", status, STATUSES),
    ttl_ms: checkTtl(ttl),
    entries: checkedEntries(rules, Entries.of(given.attributes), Entries.of(given.extensions)),
  };
}

export async function make(operation, draft) {
  const { rules } = operation;
  const { reply, evicted, reaped } = await settle(operation, "create", {
    ...draft,
    ...lifeOf(rules),
    tombstone_ms: rules.tombstone,
    ...limitOf(rules),
  });
  return { session: madeOf(rules, draft, expect(reply, "ok")), token: draft.token, evicted, reaped };
}

/** What all sessions live by that are made. */
export function lifeOf(rules) {
  return { lifetime_ms: rules.maxLifetime ?? 0, grace_ms: rules.grace };
}

/** How a change of a session notes that it is used. */
export function useOf(rules) {
  return { threshold: Math.ceil(rules.refreshThreshold * 1000), touch_ms: rules.touchInterval, grace_ms: rules.grace };
}

/** The session as it was made. */
export function madeOf(rules, { id, user, connection, node, status, ttl_ms: ttl, entries }, reply) {
  const { version, created_at, expires_at } = reply;
  const deadline = rules.maxLifetime === undefined ? 0 : created_at + rules.maxLifetime;
  const times = { version, ttl, created_at, last_active: created_at, expires_at, deadline };
  return new Session(id, { user, connection, node, ...times, status, entries: decodeEntries(entries) });
}

/** The token that a session is made with; null: its client holds the id. */
export function tokenOf(chosen) {
  return chosen instanceof Token ? chosen : null;
}

export async function get(operation, id) {
  return (await lookup(operation, operation.partitions.idOf(id)))?.session ?? null;
}

export async function update(operation, session) {
  if (!(session instanceof Session)) throw new InvalidError("session", "is none");
  if (session.status === "migrating") throw new FrozenError();
  const routing = routingOf(session);
  operation.partitions.check(checkSessionId(session.id), routing.user);
  const { reply, id } = await settle(operation, "update", {
    ...declaredOf(operation, session),
    version: session.version,
    ...renewed(routing),
    status: checkWord("status", session.status, STATUSES),
    ttl_ms: checkTtl(session.ttl),
    ...useOf(operation.rules),
    entries: checkedEntries(operation.rules, session.attributes, session.extensions),
  });
  Session.saved(session, id, expect(reply, "ok"), routing);
}

const CHANGES = ["set", "remove", "setExtensions", "removeExtensions", "status", "ttl", "version"];

export async function patch(operation, target, changes) {
  checkNames("patch", changes, CHANGES);
  const { set = {}, remove = [], setExtensions = {}, removeExtensions = [], status, ttl, version } = changes;
  const sets = (kind, values) => Array.from(pairs(values), ([key, value]) => ({ kind, key, json: jsonOf(key, value) }));
  const removals = (kind, keys) => keys.map((key) => ({ kind, key, json: "" }));
  const list = [
    ...removals("attribute", remove),
    ...sets("attribute", set),
    ...removals("extension", removeExtensions),
    ...sets("extension", setExtensions),
  ];
  const { reply, id } = await settle(operation, "patch", {
    ...declaredOf(operation, target),
    version: version === undefined ? "" : checkInteger("version", version, 1, Number.MAX_SAFE_INTEGER),
    status: status === undefined ? "" : checkWord("status", status, STATUSES),
    ttl_ms: ttl === undefined ? "" : checkTtl(ttl),
    ...useOf(operation.rules),
    entries_bytes: operation.rules.sessionBytes,
    entries_most: operation.rules.sessionEntries,
    changes: checkedChanges(operation.rules, list),
  });
  expect(reply, "ok", "unchanged");
  return { id, version: reply.version, expiresAt: reply.expires_at, changed: reply.word === "ok" };
}

export async function bind(operation, target, binding) {
  checkNames("binding", binding, ["connection", "node", "takeOver"]);
  const { reply, id, reaped, isAgain } = await settle(operation, "bind", {
    ...declaredOf(operation, target),
    new_connection: requireName("connection", binding.connection),
    new_node: nodeOf(operation, binding.node),
    policy: binding.takeOver ? "takeover" : "refuse",
    ...useOf(operation.rules),
  });
  expect(reply, "ok", "unchanged");
  // Another call under the same operation id may have declared otherwise.
  const isKnown = !isAgain || operation.isTheOnlyOne;
  return {
    id,
    version: reply.version,
    previousConnection: (isKnown && reply.connection) || null,
    previousNode: (isKnown && reply.node) || null,
    takenFrom: toldName(reply.holder_id),
    reaped,
    changed: reply.word === "ok",
  };
}

const UNBOUND = { ok: "detached", unchanged: "notBound", missing: "missing" };

export async function unbind(operation, target, connection) {
  const values = { ...declaredOf(operation, target), connection: requireName("connection", connection) };
  const { reply } = await settle(operation, "unbind", values);
  return UNBOUND[expect(reply, ...Object.keys(UNBOUND)).word];
}

export async function remove(operation, target) {
  const values = { ...declaredOf(operation, target), tombstone_ms: operation.rules.tombstone };
  const { reply } = await settle(operation, "delete", values);
  return expect(reply, "ok", "missing").word === "ok";
}

export async function exported(operation, id) {
  const found = await lookup(operation, operation.partitions.idOf(id));
  return found && { session: found.session, operations: found.operations };
}

const IMPORTED = { ok: "imported", unchanged: "unchanged", missing: "missing", expired: "missing" };

export async function imported(operation, exported, options) {
  checkNames("import", options, ["replaces", "incoming"]);
  const { incoming, replaces = incoming ? "nothing" : "older" } = options;
  if (exported.session.status === "migrating") throw new FrozenError();
  const { reply } = await settle(operation, "import", {
    ...importOf(operation, exported),
    replaces: replacedBy(replaces),
    ...(incoming && incomingOf(incoming, replaces, exported.session)),
  });
  return IMPORTED[expect(reply, ...Object.keys(IMPORTED)).word];
}

/** What the script takes of a session that was exported, once that is checked. */
export function importOf(operation, { session, operations }) {
  const routing = routingOf(session);
  operation.partitions.check(checkSessionId(session.id), routing.user);
  return {
    // Where the session is here already, its owners are mostly the same.
    ...declaredOf(operation, session),
    version: session.version,
    ...renewed(routing),
    status: checkWord("status", session.status, STATUSES),
    created_at_ms: session.createdAt,
    last_active_ms: session.lastActive,
    expires_at_ms: session.expiresAt,
    deadline_ms: session.deadline ?? 0,
    ttl_ms: checkTtl(session.ttl),
    operations,
    grace_ms: operation.rules.grace,
    entries: checkedEntries(operation.rules, session.attributes, session.extensions),
  };
}

function replacedBy(replaces) {
  if (replaces === "older") return "";
  if (replaces === "nothing") return 0;
  return checkInteger("replaces", replaces, 1, Number.MAX_SAFE_INTEGER);
}

/** By which migration a session comes. */
function incomingOf(incoming, replaces, session) {
  checkNames("incoming", incoming, ["task", "until", "place", "node"]);
  if (replaces !== "nothing") throw new InvalidError("replaces", "must be nothing, for what comes by a migration");
  const { task, until, place } = incoming;
  const node = checkName("node", incoming.node);
  return {
    task: checkTask(task),
    until_ms: checkUntil(until),
    place: checkName("place", place),
    // One that has the node already comes as it is.
    ...(node !== "" && node !== session.node && { new_connection: "", new_node: node, hand_over: "yes" }),
  };
}

/** When a freeze is over. */
export function checkUntil(until) {
  return checkInteger("until", until, 0, Number.MAX_SAFE_INTEGER);
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
  return { ...declared, id: partitions.idOf(declared.id) };
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

export function limitOf(rules) {
  return { limit: rules.sessionsPerUser, policy: rules.onLimit };
}
