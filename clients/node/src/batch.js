/** Bulk work: many sessions' records read in one round trip, then one script with all their keys declared. */

import { CorruptError } from "./errors.js";
import { decodeRecord } from "./record.js";
import { errorOf } from "./reply.js";
import { sessionOf } from "./session.js";

/** How many sessions one script call handles at most. */
export const BATCH = 200;

/**
 * Where sessions are indexed. What has no record of a session is indexed nowhere that we know; of one whose record
 * cannot be read, which is `broken`, nobody knows.
 */
export async function candidates(operation, ids) {
  if (ids.length === 0) return [];
  // MGET, because it reads a foreign type as absent, which the script then finds out.
  const [records] = await operation.read("record", ["MGET", ...ids.map((id) => operation.key("session", { id }))]);
  return ids.map((id, at) => candidate(id, records[at]));
}

function candidate(id, bytes) {
  const record = bytes === null ? null : decodeRecord(bytes);
  const { user, connection, node } = record?.kind === "live" ? record : { user: "", connection: "", node: "" };
  return { id, user, connection, node, broken: bytes !== null && record === null };
}

/** Removes those that have expired. One that lives again survives. */
export async function reap(operation, found) {
  const outcome = await handle(operation, "reap", found, {});
  return { ...outcome, removed: outcome.removed.map(({ id, record }) => sessionOf(id, record)) };
}

/** Removes sessions of a user, live or expired. */
export async function remove(operation, found, user) {
  const outcome = await handle(operation, "delete_user", found, { user, tombstone_ms: operation.rules.tombstone });
  return {
    ...outcome,
    removed: removedOf(
      found,
      outcome.removed.map(({ id }) => id),
    ),
  };
}

/** What became of a batch; `stale` ones changed between the reading and the script. */
async function handle(operation, stem, found, values) {
  const session = found.filter(({ broken }) => !broken);
  const reply = await operation.run(stem, { ...values, session });
  if (reply.word !== "ok") throw errorOf(reply);
  const [removed, stale, corrupt] = reply.rest;
  const unsound = new Set(corrupt.map(({ id }) => id));
  const left = found.filter(({ id, broken }) => broken || unsound.has(id));
  return { removed, dropped: reply.dropped, stale: stale.map(({ id }) => id), corrupt: left.map(({ id }) => id) };
}

/** Removed sessions, with the connections to close. */
export function removedOf(found, ids) {
  return ids.map((id) => {
    const candidate = found.find((one) => one.id === id);
    if (!candidate) throw new CorruptError("reply that names another session");
    return { id, connection: candidate.connection || null, node: candidate.node || null };
  });
}
