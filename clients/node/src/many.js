/** The operations on many sessions. */

import { Expired, Reaped, UserDeleted } from "./answers.js";
import { BATCH, candidates, reap, remove } from "./batch.js";
import { Cursor, cursorOf } from "./cursor.js";
import { ContendedError, CorruptError, InvalidError } from "./errors.js";
import { isSessionId, requireName } from "./ids.js";
import { readPage } from "./index-page.js";
import { checkInteger, checkIntegerIfGiven, checkOptions } from "./input.js";
import { foundOf, isTold, storedOf } from "./layout.js";
import { lookupUnlessLeft } from "./lookup.js";
import { decodeRecord, unlessOver } from "./record.js";
import { errorOf } from "./reply.js";
import { scored } from "./scored.js";
import { Session } from "./session.js";
import { allOf } from "./together.js";

const LIST_PAGE = 500;
/** How often a page is read again that changed before its records were read, until its beginning will do. */
const WHOLE_PAGE_ROUNDS = 16;
/** How often in all. */
const PAGE_ROUNDS = 128;
/** How many bytes of records a page has at most, but for one record. */
const PAGE_BYTES = 2 * 1024 * 1024;
const EXPIRED_PAGE = 1000;
/** How often in a row a batch of a user's sessions may remove nothing, because they kept changing. */
const IDLE_ROUNDS = 12;

export async function list(operation, of, page) {
  checkOptions("page", page, ["size", "after"]);
  const { size = 100 } = page;
  checkInteger("size", size, 1, LIST_PAGE);
  const after = cursorOf("after", page.after);
  const [kind, name] = ownerOf(of);
  if (kind === "user") operation.enter(name);
  const parts = kind === "user" ? [operation] : operation.parts();
  const pages = await allOf(parts, (part) => listIn(part, [kind, name], size, after));
  return pages.length === 1 ? pages[0] : merged(pages, size);
}

/** One page out of several, oldest first: as far as all of them reach, and no more than it may have. */
function merged(pages, size) {
  const ends = pages.flatMap(({ next }) => next ?? []).sort(byPlace);
  const sessions = pages.flatMap((page) => page.sessions).sort(byPlace);
  const reached = ends.length === 0 ? sessions : sessions.filter((session) => byPlace(session, ends[0]) <= 0);
  if (reached.length <= size) return { sessions: reached, next: ends[0] ?? null };
  const { createdAtMs, id } = reached[size - 1];
  return { sessions: reached.slice(0, size), next: new Cursor({ createdAtMs, id, ties: 1 }) };
}

function byPlace(one, other) {
  return one.createdAtMs - other.createdAtMs || compareIds(one.id, other.id);
}

/** As a server orders them, by their bytes. */
function compareIds(one, other) {
  return Buffer.compare(Buffer.from(storedOf(one)), Buffer.from(storedOf(other)));
}

/** A page of one partition. */
async function listIn(operation, [kind, name], size, after) {
  const key = operation.key(kind, { [kind]: name });
  for (let round = 0; round < PAGE_ROUNDS; round++) {
    const index = await readPage(operation, key, "owner", size, after);
    if (index.entries.length === 0) return { sessions: [], next: null };
    let changed = "part";
    if (round < WHOLE_PAGE_ROUNDS) {
      const read = await natively(operation, [kind, name], key, index, size);
      if (read === CHANGED) continue;
      if (read) return { sessions: read, next: index.next(after) };
      changed = "refuse";
    }
    const place = { from_ms: index.from, skip: index.skip, page: index.size(size), changed, bytes: PAGE_BYTES };
    const reply = await operation.run("list", { kind, owner: name, ...place, session: index.entries });
    if (reply.word === "need") continue;
    if (reply.word !== "ok" && reply.word !== "part") throw errorOf(reply);
    const listing = listingOf(reply, index, after);
    if (listing) return listing;
    // Of what cannot be named nothing is left to go on behind, unless some of it was dropped.
    if (reply.dropped === 0) throw new CorruptError("owner");
  }
  throw new ContendedError();
}

/** The page is another by now. */
const CHANGED = Symbol("changed");

/**
 * Reads a page again with its records, of each what it may have of 2 MiB: its live sessions. Undefined: something in it is
 * cut off, leads nowhere, or is corrupt, and the script sees to it.
 */
async function natively(operation, [kind, name], key, index, size) {
  const last = String(Math.floor(PAGE_BYTES / index.entries.length) - 1);
  const records = index.ids.map((id) => ["GETRANGE", operation.key("session", { id }), "0", last]);
  const read = await operation.readAtOnce(...records, index.again(key, size));
  if (!read) return undefined;
  if (!index.has(read.replies.pop())) return CHANGED;
  const sessions = [];
  for (const [at, { id, createdAtMs }] of index.entries.entries()) {
    const record = isSessionId(id) ? decodeRecord(read.replies[at]) : null;
    if (record?.kind !== "live" || record[kind] !== name) return undefined;
    // Where it stands among the others is not where the session stood that had its id when the page was read.
    if (record.created_at !== createdAtMs) return CHANGED;
    // An expired one keeps its entry until it is reaped as a whole.
    const live = unlessOver(record, read.now);
    if (live) sessions.push(new Session(id, live));
  }
  return sessions;
}

/** Undefined: others follow, and nothing names where. */
function listingOf({ word, last_id, rest }, index, after) {
  let { isFull } = index;
  let count = index.entries.length;
  if (word === "part") {
    count = index.ids.indexOf(last_id) + 1;
    if (count === 0) throw new CorruptError("reply that names another session");
    isFull = true;
  }
  const next = isFull ? index.behind(count, after) : null;
  if (isFull && next === null) return undefined;
  // One that cannot be read is passed over, as the script does; its entry stays.
  const read = rest[0].map(({ id, record }) => ({ id, record: decodeRecord(record) }));
  const told = read.filter(({ id, record }) => isTold(id) && record?.kind === "live");
  return { sessions: told.map(({ id, record }) => new Session(id, record)), next };
}

export async function count(operation, of) {
  const [kind, name] = ownerOf(of);
  if (kind === "user") operation.enter(name);
  const parts = kind === "user" ? [operation] : operation.parts();
  const counts = await allOf(parts, (part) => countIn(part, [kind, name]));
  return counts.reduce((sum, one) => sum + one, 0);
}

async function countIn(operation, [kind, name]) {
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
  checkOptions("page", page, ["beforeMs", "skip", "limit"]);
  const { beforeMs, skip = 0, limit = 100 } = page;
  checkInteger("limit", limit, 1, EXPIRED_PAGE);
  const before_ms = checkIntegerIfGiven("beforeMs", beforeMs, 0, Number.MAX_SAFE_INTEGER) ?? "";
  checkInteger("skip", skip, 0, Number.MAX_SAFE_INTEGER);
  const rows = operation.engine.isOne
    ? await expiredRows(operation, { before_ms, skip, limit })
    : await expiredEverywhere(operation, before_ms, skip, limit);
  // What is no session id is left out, for the reaper to remove.
  return rows.filter(({ id }) => isSessionId(id));
}

async function expiredEverywhere(operation, before_ms, skip, limit) {
  const wanted = skip + limit;
  const pages = await allOf(operation.parts(), async (part) => {
    const found = [];
    for (let isLast = false; !isLast && found.length < wanted;) {
      const size = Math.min(EXPIRED_PAGE, wanted - found.length);
      const page = await expiredRows(part, { before_ms, skip: found.length, limit: size });
      found.push(...page);
      isLast = page.length < size;
    }
    return found;
  });
  const all = pages.flat().sort((one, other) => one.expiredAtMs - other.expiredAtMs || compareIds(one.id, other.id));
  return all.slice(skip, wanted);
}

async function expiredRows(operation, values) {
  const reply = await run(operation, "expired", values);
  return reply.rest[0].map(({ id, expires_at: expiredAtMs }) => new Expired({ id, expiredAtMs }));
}

export async function reapExpired(operation, batch) {
  checkInteger("batch", batch, 1, BATCH);
  if (operation.engine.isOne) return reapIn(operation, batch);
  // In the partition where something expired first: a reply that is lost loses the report of one.
  const parts = operation.parts();
  const pages = await allOf(parts, (part) => expiredRows(part, { before_ms: "", skip: 0, limit: 1 }));
  const expired = pages.flatMap(([first], at) => (first ? [{ part: parts[at], expiredAtMs: first.expiredAtMs }] : []));
  if (expired.length === 0) return nothingExpired();
  const [first, ...others] = expired.sort((one, other) => one.expiredAtMs - other.expiredAtMs);
  const reaped = await reapIn(first.part, batch);
  reaped.more ||= others.length > 0;
  return reaped;
}

function nothingExpired() {
  return new Reaped({ sessions: [], dropped: 0, corrupt: [], more: false, unreadable: 0 });
}

/** The same in one partition. */
async function reapIn(operation, batch) {
  const page = await expiredRows(operation, { before_ms: "", skip: 0, limit: batch });
  if (page.length === 0) return nothingExpired();
  const ids = page.map(({ id }) => id);
  const { removed: sessions, dropped, left, stale, corrupt, unreadable } = await reap(operation, ids);
  const told = corrupt.filter(isTold);
  const more = ids.length === batch || left + stale.length > 0;
  return new Reaped({ sessions, dropped, corrupt: told, more, unreadable: unreadable + corrupt.length - told.length });
}

/**
 * Deletes those sessions that there are when it begins: what is created meanwhile survives, so that it comes to an end.
 * Each batch is an operation with a deadline of its own.
 */
export async function deleteUser(begin, user, options) {
  checkOptions("options", options, ["keep"]);
  requireName("user", user);
  const operationOf = () => {
    const operation = begin();
    operation.enter(user);
    return operation;
  };
  const deletion = { user, keep: new Set(), newest: undefined, idle: 0, removed: [], corrupt: [], unreadable: 0 };
  if (options.keep !== undefined) {
    const operation = operationOf();
    operation.changes();
    const { partitions, engine } = operation;
    const kept = partitions.idOf("keep", options.keep);
    deletion.keep.add(kept);
    // What is in another partition is not this user's.
    const isNear = partitions.of(kept) === engine.partition;
    const found = isNear ? await lookupUnlessLeft(operation, kept) : null;
    if (found) deletion.keep.add(found.session.id);
  }
  while (!(await deleteBatch(operationOf(), deletion)));
  const corrupt = deletion.corrupt.filter(isTold);
  const unreadable = deletion.unreadable + deletion.corrupt.length - corrupt.length;
  return new UserDeleted({ removed: deletion.removed, corrupt, unreadable });
}

/** Deletes a batch, and tells whether none is left. */
async function deleteBatch(operation, deletion) {
  const { user, keep, corrupt } = deletion;
  operation.changes();
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
  if (deletion.idle === IDLE_ROUNDS) {
    operation.checkSure();
    throw new ContendedError();
  }
  return false;
}

/** A batch of the user's oldest entries, with one more that tells whether there are others, and those passed over. */
async function readUser(operation, deletion, passed) {
  const range = ["-inf", String(deletion.newest ?? "+inf"), "LIMIT", "0", String(BATCH + 1 + passed)];
  const key = operation.key("user", { user: deletion.user });
  const last = ["ZRANGE", key, "-1", "-1", "WITHSCORES"];
  const [read, ids] = await operation.read("user", last, ["ZRANGEBYSCORE", key, ...range]);
  // When the newest of those that there are was made, by whatever the server's clock said then.
  deletion.newest ??= scored(read)[0]?.[1] ?? 0;
  return ids.map(foundOf);
}

async function run(operation, stem, values) {
  const reply = await operation.run(stem, values);
  if (reply.word !== "ok") throw errorOf(reply);
  return reply;
}

/** Whose sessions: `{ user }` or `{ node }`. */
function ownerOf(of) {
  checkOptions("of", of, ["user", "node"]);
  const given = Object.entries(of).filter(([, name]) => name !== undefined);
  if (given.length !== 1) throw new InvalidError("of", "must be { user } or { node }");
  const [[kind, name]] = given;
  return [kind, requireName(kind, name)];
}
