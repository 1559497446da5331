/**
 * Using a session. Most refreshes come within the touch interval, and write nothing. So where the script may have nothing to
 * write, a read comes first. The script decides all else: what is frozen, rotated away, corrupt.
 */

import { Refreshed } from "./answers.js";
import { settle } from "./declared.js";
import { CorruptError } from "./errors.js";
import { isLeft } from "./lookup.js";
import { declaredOf, expect } from "./one.js";
import { decodeRecord, unlessOver, USAGE_BYTES, usageOf } from "./record.js";
import { isTouchDue } from "./rules.js";
import { Session, sessionOf } from "./session.js";

export async function refresh(operation, target) {
  const declared = declaredOf(operation, target);
  operation.enter(declared.id);
  operation.changes();
  if (mayBeUntouched(operation, target)) {
    const untouched = await untouchedOf(operation, declared.id);
    if (untouched) return untouched;
  }
  const { reply, id } = await settleRefresh(operation, declared, "times");
  if (reply.word === "missing") return null;
  const { version, last_active: lastActiveMs, expires_at: expiresAtMs, word } = reply;
  return new Refreshed({ id, version, lastActiveMs, expiresAtMs, changed: word === "ok" });
}

export async function refreshAndGet(operation, target) {
  const declared = declaredOf(operation, target);
  operation.enter(declared.id);
  operation.changes();
  if (mayBeUntouched(operation, target)) {
    const session = await look(operation, declared.id);
    if (session !== undefined) return session;
  }
  const { reply, id } = await settleRefresh(operation, declared, "record");
  if (reply.word === "missing") return null;
  if (!reply.record) throw new CorruptError("reply without the record");
  return sessionOf(id, reply.record);
}

async function settleRefresh(operation, declared, want) {
  const settled = await settle(operation, "refresh", { ...declared, want });
  expect(settled.reply, "ok", "unchanged", "missing");
  return settled;
}

/**
 * Whether the script may have nothing to write, as far as that can be told before anything is read. A node's lease only the
 * script can ask for.
 */
function mayBeUntouched({ rules, identity, knownTime }, target) {
  if (rules.touchIntervalMs === 0 || identity) return false;
  if (!(target instanceof Session) || knownTime === undefined) return true;
  return !isTouchDue(rules, target.lastActiveMs, target.expiresAtMs, knownTime);
}

/** What a refresh answers that has nothing to write. Null: the script has to tell. */
async function untouchedOf(operation, id) {
  const beginning = ["GETRANGE", operation.key("session", { id }), "0", String(USAGE_BYTES - 1)];
  const [time, bytes] = await operation.read("record", ["TIME"], beginning);
  const usage = usageOf(bytes);
  if (!usage) return null;
  const { version, last_active: lastActiveMs, expires_at: expiresAtMs } = usage;
  if (isTouchDue(operation.rules, lastActiveMs, expiresAtMs, operation.now(time))) return null;
  return new Refreshed({ id, version, lastActiveMs, expiresAtMs, changed: false });
}

/** The session that a refresh returns which has nothing to write; null: there is none; undefined: the script has to tell. */
async function look(operation, id) {
  const [time, bytes] = await operation.read("record", ["TIME"], ["GET", operation.key("session", { id })]);
  if (bytes === null) return null;
  const now = operation.now(time);
  const stored = decodeRecord(bytes);
  if (!stored || (stored.kind === "live" && stored.freeze && stored.freeze.direction !== "over")) return undefined;
  const record = unlessOver(stored, now);
  if (!record || (record.kind === "deleted" && !isLeft(record))) return null;
  const isLive = record.kind === "live";
  if (!isLive || isTouchDue(operation.rules, record.last_active, record.expires_at, now)) return undefined;
  return new Session(id, record);
}
