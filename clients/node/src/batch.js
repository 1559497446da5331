/**
 * Bulk work: the beginnings of many sessions' records read in one round trip, then one script with all their keys
 * declared. Ids and names are as the server has them, and need be no texts, until they are told.
 */

import { Removed } from "./answers.js";
import { CorruptError } from "./errors.js";
import { isTold } from "./layout.js";
import { decodeRecord, HEAD_BYTES, headOf } from "./record.js";
import { errorOf } from "./reply.js";
import { Session } from "./session.js";

/** How many sessions one script call handles at most. */
export const BATCH = 200;
/** How many bytes of sessions are read at once, but for one that is larger by itself. */
const BYTES_PER_READ = 2 * 1024 * 1024;

/** Where sessions are indexed. What has no record of a session is indexed nowhere that we know. */
export async function candidates(operation, ids) {
  const heads = await readHeads(operation, ids);
  return ids.map((id, at) => ({ id, ...headOf(heads[at]) }));
}

function readHeads(operation, ids) {
  const end = String(HEAD_BYTES - 1);
  return operation.readStrings(...ids.map((id) => ["GETRANGE", operation.key("session", { id }), "0", end]));
}

/** The whole records of expired sessions, which do not change any more: of as many as may be read at once. */
async function readRecords(operation, ids) {
  let records = await readHeads(operation, ids);
  const large = [];
  let total = 0;
  for (const [at, record] of records.entries()) {
    const { size } = headOf(record);
    if (total > 0 && total + size > BYTES_PER_READ) {
      records = records.slice(0, at);
      break;
    }
    total += size;
    if (size > record.length) large.push(at);
  }
  const whole = await operation.readStrings(...large.map((at) => ["GET", operation.key("session", { id: ids[at] })]));
  large.forEach((at, place) => (records[at] = whole[place]));
  return records;
}

/** Removes those that have expired. One that lives again survives. */
export async function reap(operation, ids) {
  const records = await readRecords(operation, ids);
  const session = records.map((record, at) => ({ id: ids[at], ...headOf(record) }));
  const outcome = await handle(operation, "reap", { session });
  const read = outcome.removed.map((id) => [id, decodeRecord(records[ids.indexOf(id)])]);
  const told = read.filter(([id, record]) => isTold(id) && record?.kind === "live");
  const removed = told.map(([id, record]) => new Session(id, record));
  const left = outcome.left + ids.length - records.length;
  return { ...outcome, removed, left, unreadable: read.length - told.length };
}

/** Removes sessions of a user, live or expired. */
export async function remove(operation, session, user) {
  const outcome = await handle(operation, "delete_user", { user, session });
  const removed = removedOf(session, outcome.removed);
  return { ...outcome, removed, unreadable: outcome.removed.length - removed.length };
}

/**
 * What became of a batch, by ids. `stale` ones changed between the reading and the script; so many at the end are `left`
 * because those before were large. Both are to be tried again.
 */
async function handle(operation, stem, values) {
  const reply = await operation.run(stem, values);
  if (reply.word !== "ok") throw errorOf(reply);
  const [removed, stale, corrupt] = reply.rest.map((rows) => rows.map(({ id }) => id));
  return { removed, stale, corrupt, dropped: reply.dropped, left: reply.left };
}

/** Removed sessions that can be told, with the connections to close. */
export function removedOf(found, ids) {
  return ids.filter(isTold).map((id) => {
    const candidate = found.find((one) => one.id === id);
    if (!candidate) throw new CorruptError("reply that names another session");
    return removedFrom(id, candidate);
  });
}

/** A removed session, by what was declared of it. */
export function removedFrom(id, { user, connection, node }) {
  return new Removed({ id, user: toldName(user), connection: toldName(connection), node: toldName(node) });
}

/** A name as it is told: that of none, and what is no text, is null. */
export function toldName(name) {
  return name && isTold(name) ? name : null;
}
