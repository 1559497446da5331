/** The operations on many sessions. */

import { BATCH, candidates, reap, remove } from "./batch.js";
import { ContendedError, CorruptError, InvalidError } from "./errors.js";
import { checkSessionId, isSessionId, requireName } from "./ids.js";
import { cursorBehind, readPage } from "./index-page.js";
import { idOf, lookup } from "./lookup.js";
import { decodeRecord } from "./record.js";
import { errorOf } from "./reply.js";
import { checkInteger, checkNames } from "./rules.js";
import { Session } from "./session.js";

export { BATCH };
const LIST_PAGE = 500;
/** How often a page is read again that changed before its records were read, until its beginning will do. */
const WHOLE_PAGE_ROUNDS = 16;
/** How often in all. */
const PAGE_ROUNDS = 128;
/** How many bytes of records a page has at most, but for one record. */
const PAGE_BYTES = 4 * 1024 * 1024;
const EXPIRED_PAGE = 1000;
/** How often in a row a batch of a user's sessions may remove nothing, because they kept changing. */
const IDLE_ROUNDS = 12;

export async function list(operation, owner, page) {
  checkNames("page", page, ["size", "after"]);
  const { size = 100, after } = page;
  checkInteger("page size", size, 1, LIST_PAGE);
  const [kind, name] = ownerOf(owner);
  const key = operation.key(kind, { [kind]: name });
  for (let round = 0; round < PAGE_ROUNDS; round++) {
    const index = await readPage(operation, key, "owner", size, after);
    const { entries: session, from: from_ms, skip } = index;
    if (session.length === 0) return { sessions: [], next: null };
    const changed = round < WHOLE_PAGE_ROUNDS ? "refuse" : "part";
    const place = { from_ms, skip, page: size, changed, bytes: PAGE_BYTES };
    const reply = await operation.run("list", { kind, owner: name, ...place, session });
    if (reply.word === "ok" || reply.word === "part") return listed(reply, index, size, after);
    if (reply.word !== "need") throw errorOf(reply);
  }
  throw new ContendedError();
}

/** A page, which ends earlier where only its beginning was answered. */
function listed({ word, last_id, rest }, { entries }, size, after) {
  const read = rest[0].map(({ id, record }) => ({ id, record: decodeRecord(record) }));
  // One that cannot be read is passed over, as the script does; its entry stays.
  const whole = read.filter(({ record }) => record?.kind === "live");
  const sessions = whole.map(({ id, record }) => new Session(id, record));
  if (word === "ok") return { sessions, next: cursorBehind(entries, size, after) };
  const part = entries.findIndex(({ id }) => id === last_id) + 1;
  if (part === 0) throw new CorruptError("reply that names another session");
  return { sessions, next: cursorBehind(entries.slice(0, part), part, after) };
}

export async function count(operation, owner) {
  const [kind, name] = ownerOf(owner);
  let total = 0;
  let start = 0;
  do {
    const reply = await run(operation, "count", { kind, owner: name, start });
    total += reply.live;
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
  const reply = await run(operation, "expired", { before_ms, skip, limit });
  const rows = reply.rest[0].map(({ id, expires_at: expiredAt }) => ({ id, expiredAt }));
  if (rows.some(({ id }) => !isSessionId(id))) throw new CorruptError("expiry");
  return rows;
}

export async function reapExpired(operation, batch) {
  checkInteger("batch", batch, 1, BATCH);
  const corrupt = [];
  for (;;) {
    // What cannot be removed stays the oldest, and must not keep the rest from being found.
    const page = await expired(operation, { skip: corrupt.length, limit: batch });
    const more = page.length === batch;
    const found = await candidates(
      operation,
      page.map(({ id }) => id),
    );
    const none = { removed: [], dropped: 0, corrupt: [] };
    const outcome = found.length === 0 ? none : await reap(operation, found);
    corrupt.push(...outcome.corrupt);
    if (!more || outcome.corrupt.length < batch) {
      return { sessions: outcome.removed, dropped: outcome.dropped, corrupt, more };
    }
  }
}

/**
 * Deletes those sessions that there are when it begins: what is created meanwhile survives, so that it comes to an end.
 * Each batch is an operation with a deadline of its own.
 */
export async function deleteUser(operationOf, user, options) {
  checkNames("options", options, ["keep"]);
  requireName("user", user);
  const deletion = { user, keep: new Set(), start: undefined, idle: 0, removed: [], corrupt: [] };
  if (options.keep !== undefined) {
    deletion.keep.add(checkSessionId(options.keep));
    const found = await lookup(operationOf(), options.keep);
    if (found) deletion.keep.add(found.session.id);
  }
  while (!(await deleteBatch(operationOf(), deletion)));
  return { removed: deletion.removed, corrupt: deletion.corrupt };
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
  corrupt.push(...outcome.corrupt);
  // An entry in none of the lists was dropped: its session was rotated away, and is indexed under its new id, or it
  // had none.
  const settled = outcome.removed.length + outcome.corrupt.length === found.length;
  if (whole && settled) return true;
  const idle = outcome.stale.length === found.length || (whole && outcome.removed.length === 0);
  deletion.idle = idle ? deletion.idle + 1 : 0;
  if (deletion.idle === IDLE_ROUNDS) {
    operation.checkSure();
    throw new ContendedError();
  }
  return false;
}

/** A batch of the user's oldest entries, with one more that tells whether there are others, and those passed over. */
async function readUser(operation, deletion, passed) {
  const range = ["-inf", String(deletion.start ?? "+inf"), "LIMIT", "0", String(BATCH + 1 + passed)];
  const key = operation.key("user", { user: deletion.user });
  const [time, ids] = await operation.read("user", ["TIME"], ["ZRANGEBYSCORE", key, ...range]);
  deletion.start ??= operation.now(time);
  return ids.map((id) => idOf(id, "user"));
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
