/** Reading one session: TIME and GET together cost the server a third of what a script does. */

import { CorruptError, DepartedError, MovedError } from "./errors.js";
import { isSessionId } from "./ids.js";
import { textOf } from "./layout.js";
import { decodeRecord, unlessOver } from "./record.js";
import { Session } from "./session.js";
import { allOf } from "./together.js";

/** The live session with an id, or with the id that it was rotated to, and the ids of its last changes; or null. */
export async function lookup(operation, id) {
  operation.enter(id);
  let found = await read(operation, id);
  // An id that was rotated away twice leads nowhere.
  if (found?.movedTo) found = await read(operation, found.movedTo);
  return found?.session ? found : null;
}

/** The same, and null where a login left the id. */
export async function lookupUnlessLeft(operation, id) {
  try {
    return await lookup(operation, id);
  } catch (error) {
    if (error instanceof MovedError) return null;
    throw error;
  }
}

/** Whether a login left the id of a record for another, which is told to nobody. */
export function isLeft(record) {
  return record?.kind === "deleted" && record.new_id !== "";
}

/** The time, and what is under an id, without what is over; null where that is nothing. */
export async function current(operation, id) {
  const found = await stored(operation, id);
  const record = found && unlessOver(found.record, found.now);
  return record && { now: found.now, record };
}

/** The time, and what is under an id, even if it is over; null where that is nothing. */
export async function stored(operation, id) {
  const [time, bytes] = await operation.read("record", ["TIME"], ["GET", operation.key("session", { id })]);
  if (bytes === null) return null;
  const record = decodeRecord(bytes);
  if (!record) throw new CorruptError("record");
  return { now: operation.now(time), record };
}

async function read(operation, id) {
  const { record } = (await current(operation, id)) ?? {};
  if (record?.kind === "live") return { ...exportOf(id, record), changedAt: record.changed_at };
  if (record?.kind === "departed") throw new DepartedError(record);
  if (isLeft(record)) throw new MovedError({});
  return record?.kind === "moved" ? { movedTo: record.new_id } : null;
}

/** A live session whole: as it is exported. */
export function exportOf(id, record) {
  return { session: new Session(id, record), operations: Buffer.from(record.op_ids) };
}

/** The live session that has a connection. */
export async function lookupConnection(operation, connection) {
  const parts = operation.parts();
  if (parts.length === 1) return (await inOne(operation, connection, await pointerIn(operation, connection)))?.session ?? null;
  // A partition knows nothing of a connection's session in another, which it may have left without a word. Of several the
  // one that was changed last has it.
  const pointers = await allOf(parts, (part) => pointerIn(part, connection));
  const found = await allOf(parts, (part, at) => inOne(part, connection, pointers[at]));
  const newest = found.filter(Boolean).sort((one, other) => other.changedAt - one.changedAt)[0];
  return newest?.session ?? null;
}

async function pointerIn(operation, connection) {
  const [pointer] = await operation.read("connection", ["GET", operation.key("connection", { connection })]);
  return pointer;
}

/**
 * The same in one partition, where the pointer was read already. A stale pointer is no answer; but between pointer and record the connection
 * may have been taken over, and between two looks it may have been there and back. So a pointer is stale only if it
 * leads, read again, to the very version of the session that did not have the connection before.
 */
async function inOne(operation, connection, first) {
  const { partition } = operation.engine;
  let pointer = first;
  let passed;
  for (;;) {
    if (pointer === null) return null;
    const id = idOf(pointer, "connection");
    // One that leads to another partition was written by nobody of ours.
    if (operation.partitions.of(id) !== partition) throw new CorruptError("connection");
    const found = await lookupUnlessLeft(operation, id);
    if (found?.session.connection === connection) return found;
    const led = JSON.stringify([id, found?.session.id, found?.session.version]);
    if (led === passed) return null;
    passed = led;
    pointer = await pointerIn(operation, connection);
  }
}

/** A session id that is stored under the key `what`. */
export function idOf(bytes, what) {
  try {
    const id = textOf(bytes);
    if (isSessionId(id)) return id;
  } catch {
    // Not UTF-8, and so no id of ours.
  }
  throw new CorruptError(what);
}
