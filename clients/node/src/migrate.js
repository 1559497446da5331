/** The steps that take a session from one store to another. `store.d.ts` tells in which order. */

import { Migration } from "./answers.js";
import { BATCH } from "./batch.js";
import { settle } from "./declared.js";
import { CorruptError, InvalidError } from "./errors.js";
import { checkName, checkTask } from "./ids.js";
import { checkInteger, checkOptions, checkWord } from "./input.js";
import { foundOf, isTold } from "./layout.js";
import { exportOf, stored } from "./lookup.js";
import { checkUntil, declaredOf, expect } from "./one.js";
import { HEAD_BYTES, decodeHead, decodeRecord } from "./record.js";
import { allOf } from "./together.js";

const HOUR = 3_600_000;

export async function freeze(operation, target, task, place, options) {
  checkOptions("options", options, ["node", "spanMs"]);
  const { node, spanMs = 30_000 } = options;
  const { reply, id } = await settle(operation, "freeze", {
    ...declaredOf(operation, target),
    task: checkTask(task),
    place: checkName("place", place),
    new_node: checkName("node", node),
    freeze_ms: checkInteger("spanMs", spanMs, 1, HOUR),
  });
  if (expect(reply, "ok", "missing").word === "missing") return null;
  const record = decodeRecord(reply.record);
  if (record?.kind !== "live") throw new CorruptError("record");
  return { exported: exportOf(id, record), untilMs: reply.frozen_until };
}

export async function depart(operation, target, task, untilMs) {
  const values = { ...declaredOf(operation, target), task: checkTask(task), until_ms: checkUntil(untilMs) };
  const { reply } = await settle(operation, "depart", values);
  return expect(reply, "ok", "missing").word === "ok";
}

const THAWED = { ok: "thawed", unchanged: "unchanged", missing: "missing" };

export async function thaw(operation, target, task, direction) {
  checkWord("direction", direction, ["outgoing", "incoming"]);
  const { reply } = await settle(operation, "thaw", { ...declaredOf(operation, target), task: checkTask(task), direction });
  return THAWED[expect(reply, ...Object.keys(THAWED)).word];
}

export async function clean(operation, target, task, what, options) {
  checkWord("what", what, ["copy", "departed", "deleted"]);
  checkOptions("options", options, ["untilMs"]);
  const { untilMs } = options;
  if (what !== "copy" && untilMs !== undefined) throw new InvalidError("untilMs", "is of a copy only");
  const { reply } = await settle(operation, "clean", {
    ...declaredOf(operation, target),
    task: checkTask(task),
    what,
    until_ms: what === "copy" ? checkUntil(untilMs) : 0,
  });
  return expect(reply, "ok", "unchanged").word === "ok";
}

export async function migrations(operation, page) {
  checkOptions("page", page, ["skip", "limit"]);
  const { skip = 0, limit = BATCH } = page;
  checkInteger("skip", skip, 0, Number.MAX_SAFE_INTEGER);
  checkInteger("limit", limit, 1, BATCH);
  if (operation.engine.isOne) return pageIn(operation, skip, limit);
  // The lists of the partitions count one behind the other. A page is of one of them.
  const parts = operation.parts();
  const lengths = await allOf(parts, (part) => lengthIn(part));
  const all = lengths.reduce((sum, one) => sum + one, 0);
  let before = 0;
  for (const [at, part] of parts.entries()) {
    const behind = before + lengths[at];
    if (skip < behind) {
      const page = await pageIn(part, skip - before, limit);
      if (page.next !== null) return { ...page, next: before + page.next };
      // Those that led nowhere are gone from the list by now, and others may be.
      return { ...page, next: behind < all ? skip + page.migrations.length : null };
    }
    before = behind;
  }
  return { migrations: [], next: null };
}

async function lengthIn(operation) {
  const [length] = await operation.read("migrations", ["ZCARD", operation.key("migrations", {})]);
  return length;
}

/** A page of one partition. */
async function pageIn(operation, skip, limit) {
  const range = [operation.key("migrations", {}), String(skip), String(skip + limit - 1)];
  const [members] = await operation.read("migrations", ["ZRANGE", ...range]);
  const session = members.map((member) => ({ id: foundOf(member) }));
  if (session.length === 0) return { migrations: [], next: null };
  const native = await natively(operation, session);
  if (native) return { migrations: native, next: session.length === limit ? skip + limit : null };
  const { dropped, rest } = expect(await operation.run("migrations", { session }), "ok");
  const next = session.length === limit ? skip + session.length - dropped : null;
  // What cannot be told is passed over: it ends as its freeze does, and is reaped.
  const read = rest[0].map(({ id, record }) => ({ id, record: decodeRecord(record) }));
  const told = read.filter(({ id, record }) => isTold(id) && record !== null);
  return { migrations: told.map(({ id, record }) => migrationOf(id, record)), next };
}

/**
 * Reads the records without the script. Undefined: some entry may lead nowhere, and the script drops it then; or else the
 * server does not read them so.
 */
async function natively(operation, listed) {
  const last = String(HEAD_BYTES - 1);
  const heads = listed.map(({ id }) => ["GETRANGE", operation.key("session", { id }), "0", last]);
  const read = await operation.readAtOnce(...heads);
  if (!read) return undefined;
  const migrations = [];
  for (const [at, { id }] of listed.entries()) {
    const record = isTold(id) ? decodeHead(read.replies[at]) : null;
    if (!record || !isOnItsWay(record)) return undefined;
    const until = record.kind === "live" ? record.expires_at : record.stored_until;
    if (until > read.now) migrations.push(migrationOf(id, record));
  }
  return migrations;
}

function isOnItsWay({ kind, task, freeze }) {
  if (kind === "departed") return !/^0*$/.test(task);
  return freeze !== undefined && freeze.direction !== "over";
}

export async function knows(operation, given) {
  const id = operation.partitions.idOf("id", given);
  operation.enter(id);
  const found = await stored(operation, id);
  return found !== null && (found.record.kind === "live" || found.record.stored_until > found.now);
}

function migrationOf(id, record) {
  const told = record?.kind === "departed" ? record : record?.freeze;
  if (!told) throw new CorruptError("record");
  const phase = record.kind === "live" ? told.direction : record.kind;
  const untilMs = record.kind === "live" ? told.frozen_until : null;
  const node = told.node || null;
  return new Migration({ id, task: Buffer.from(told.task, "hex"), place: told.place, node, phase, untilMs });
}
