/** The operations on many sessions. */

import { BATCH, candidates, reap, remove } from "./batch.js";
import { ContendedError, InvalidError } from "./errors.js";
import { checkSessionId, isSessionId, requireName } from "./ids.js";
import { foundOf, isTold } from "./layout.js";
import { lookup } from "./lookup.js";
import { decodeRecord } from "./record.js";
import { errorOf } from "./reply.js";
import { checkInteger, checkNames } from "./rules.js";
import { Session } from "./session.js";

export { BATCH };
const LIST_PAGE = 500;
const EXPIRED_PAGE = 1000;
/** How often in a row a batch of a user's sessions may remove nothing, because they kept changing. */
const IDLE_ROUNDS = 12;

export async function list(operation, owner, page) {
  checkNames("page", page, ["size", "after"]);
  const { size = 100, after } = page;
  checkInteger("page size", size, 1, LIST_PAGE);
  const [kind, name] = ownerOf(owner);
  const { entries, next } = await readIndex(operation, operation.key(kind, { [kind]: name }), "owner", size, after);
  if (entries.length === 0) return { sessions: [], next };
  const reply = await run(operation, "list", { kind, owner: name, session: entries });
  const read = reply.rest[0].map(({ id, record }) => ({ id, record: decodeRecord(record) }));
  // One that cannot be read is passed over, as the script does; its entry stays.
  const whole = read.filter(({ record }) => record?.kind === "live");
  return { sessions: whole.map(({ id, record }) => new Session(id, record)), next };
}

/** Where the page behind this one begins; a page that is not full is the last. */
export function nextOf(entries, size, after) {
  const last = entries.at(-1);
  if (!last || entries.length < size) return null;
  const here = entries.filter(({ createdAt }) => createdAt === last.createdAt).length;
  const ties = here + (after?.createdAt === last.createdAt ? after.ties : 0);
  return { createdAt: last.createdAt, id: last.id, ties };
}

/** A page of an index, what stood among its entries and is no session id, and where the next one begins. */
export async function readIndex(operation, key, what, size, after) {
  const { entries, unreadable } = await readEntries(operation, key, what, size, after);
  return { entries, unreadable: unreadable.map(({ id }) => id), next: nextOf(entries, size, after) };
}

/** A page's entries: from the cursor's score on, inclusive, without those that came before. */
async function readEntries(operation, key, what, size, after) {
  const passed = ({ id, createdAt }) =>
    createdAt === after?.createdAt && Buffer.compare(Buffer.from(id), Buffer.from(after.id)) <= 0;
  const score = after?.createdAt ?? 0;
  for (let limit = size + (after?.ties ?? 0); ; limit *= 2) {
    const read = await readFrom(operation, key, what, score, limit);
    const entries = read.filter((entry) => isSessionId(entry.id) && !passed(entry));
    // More may sort before the cursor than it knows of: a rotation gives an entry another id under its old score. And
    // what is no id fills no page.
    if (read.length < limit || entries.length >= size) {
      return { entries: entries.slice(0, size), unreadable: read.filter(({ id }) => !isSessionId(id)) };
    }
  }
}

async function readFrom(operation, key, what, score, limit) {
  const range = [key, String(score), "+inf", "WITHSCORES", "LIMIT", "0", String(limit)];
  const [flat] = await operation.read(what, ["ZRANGEBYSCORE", ...range]);
  const entries = [];
  for (let at = 0; at < flat.length; at += 2) {
    entries.push({ id: foundOf(flat[at]), createdAt: Number(flat[at + 1]) });
  }
  return entries;
}

export async function count(operation, owner) {
  const [kind, name] = ownerOf(owner);
  let total = 0;
  let start = 0;
  do {
    const reply = await run(operation, "count", { kind, owner: name, start });
    total += reply.live;
    const [suspect] = reply.rest;
    // Those that have no record are dropped.
    if (suspect.length > 0) await run(operation, "count", { kind, owner: name, start: 0, suspect });
    start = reply.next;
  } while (start !== 0);
  return total;
}

export async function expired(operation, page) {
  checkNames("page", page, ["before", "skip", "limit"]);
  const { before, skip = 0, limit = 100 } = page;
  checkInteger("page size", limit, 1, EXPIRED_PAGE);
  const before_ms = before === undefined ? "" : checkInteger("before", before, 0, Number.MAX_SAFE_INTEGER);
  checkInteger("skip", skip, 0, Number.MAX_SAFE_INTEGER);
  const rows = await expiredRows(operation, { before_ms, skip, limit });
  // What is no session id is left out, for the reaper to remove.
  return rows.filter(({ id }) => isSessionId(id));
}

async function expiredRows(operation, values) {
  const reply = await run(operation, "expired", values);
  return reply.rest[0].map(({ id, expires_at: expiredAt }) => ({ id, expiredAt }));
}

export async function reapExpired(operation, batch) {
  checkInteger("batch", batch, 1, BATCH);
  const page = await expiredRows(operation, { before_ms: "", skip: 0, limit: batch });
  const ids = page.map(({ id }) => id);
  const { removed: sessions, dropped, left, stale, corrupt, unreadable } = await reap(operation, ids);
  const told = corrupt.filter(isTold);
  const more = ids.length === batch || left + stale.length > 0;
  return { sessions, dropped, corrupt: told, more, unreadable: unreadable + corrupt.length - told.length };
}

/**
 * Deletes those sessions that there are when it begins: what is created meanwhile survives, so that it comes to an end.
 * Each batch is an operation with a deadline of its own.
 */
export async function deleteUser(operationOf, user, options) {
  checkNames("options", options, ["keep"]);
  requireName("user", user);
  const deletion = { user, keep: new Set(), newest: undefined, idle: 0, removed: [], corrupt: [], unreadable: 0 };
  if (options.keep !== undefined) {
    deletion.keep.add(checkSessionId(options.keep));
    const found = await lookup(operationOf(), options.keep);
    if (found) deletion.keep.add(found.session.id);
  }
  while (!(await deleteBatch(operationOf(), deletion)));
  const corrupt = deletion.corrupt.filter(isTold);
  const unreadable = deletion.unreadable + deletion.corrupt.length - corrupt.length;
  return { removed: deletion.removed, corrupt, unreadable };
}

/** Deletes a batch, and tells whether none is left. */
async function deleteBatch(operation, deletion) {
  const { user, keep, corrupt } = deletion;
  const passed = new Set([...keep, ...corrupt]);
  const ids = (await readUser(operation, deletion, passed.size)).filter((id) => !passed.has(id));
  const whole = ids.length <= BATCH;
  const found = await candidates(operation, ids.slice(0, BATCH));
  if (found.length === 0) return true;
  const outcome = await remove(operation, found, user);
  deletion.removed.push(...outcome.removed);
  deletion.unreadable += outcome.unreadable;
  corrupt.push(...outcome.corrupt);
  const removed = outcome.removed.length + outcome.unreadable;
  // An entry in none of the lists was dropped: its session was rotated away, and is indexed under its new id, or it
  // had none.
  const settled = removed + outcome.corrupt.length === found.length;
  if (whole && settled) return true;
  const idle = outcome.stale.length === found.length || (whole && removed === 0);
  deletion.idle = idle ? deletion.idle + 1 : 0;
  if (deletion.idle === IDLE_ROUNDS) throw new ContendedError();
  return false;
}

/** A batch of the user's oldest entries, with one more that tells whether there are others, and those passed over. */
async function readUser(operation, deletion, passed) {
  const range = ["-inf", String(deletion.newest ?? "+inf"), "LIMIT", "0", String(BATCH + 1 + passed)];
  const key = operation.key("user", { user: deletion.user });
  const last = ["ZRANGE", key, "-1", "-1", "WITHSCORES"];
  const [[, newest = 0], ids] = await operation.read("user", last, ["ZRANGEBYSCORE", key, ...range]);
  // When the newest of those that there are was made, by whatever the server's clock said then.
  deletion.newest ??= Number(newest);
  return ids.map(foundOf);
}

async function run(operation, stem, values) {
  const reply = await operation.run(stem, values);
  if (reply.word !== "ok") throw errorOf(reply);
  return reply;
}

/** Whose sessions: `{ user }` or `{ node }`. */
function ownerOf(owner) {
  const [[kind, name] = [], ...others] = Object.entries(owner ?? {});
  if ((kind !== "user" && kind !== "node") || others.length > 0) {
    throw new InvalidError("owner", "must be { user } or { node }");
  }
  return [kind, requireName(kind, name)];
}
