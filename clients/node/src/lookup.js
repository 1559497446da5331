/** Reading one session: TIME and GET together cost the server a third of what a script does. */

import { CorruptError, DepartedError } from "./errors.js";
import { isSessionId } from "./ids.js";
import { textOf } from "./layout.js";
import { decodeRecord, unlessOver } from "./record.js";
import { Session } from "./session.js";

/** The live session with an id, or with the id that it was rotated to, and the ids of its last changes; or null. */
export async function lookup(operation, id) {
  let found = await read(operation, id);
  // An id that was rotated away twice leads nowhere.
  if (found?.movedTo) found = await read(operation, found.movedTo);
  return found?.session ? found : null;
}

async function read(operation, id) {
  const [time, bytes] = await operation.read("record", ["TIME"], ["GET", operation.key("session", { id })]);
  if (bytes === null) return null;
  const stored = decodeRecord(bytes);
  if (!stored) throw new CorruptError("record");
  const record = unlessOver(stored, operation.now(time));
  if (record?.kind === "live") return exportOf(id, record);
  if (record?.kind === "departed") throw new DepartedError(record);
  return record?.kind === "moved" ? { movedTo: record.new_id } : null;
}

/** A live session whole: as it is exported. */
export function exportOf(id, record) {
  return { session: new Session(id, record), operations: Buffer.from(record.op_ids) };
}

/**
 * The live session that has a connection. A stale pointer is no answer; but between pointer and record the connection
 * may have been taken over, and between two looks it may have been there and back. So a pointer is stale only if it
 * leads, read again, to the very version of the session that did not have the connection before.
 */
export async function lookupConnection(operation, connection) {
  let passed;
  for (;;) {
    const [pointer] = await operation.read("connection", ["GET", operation.key("connection", { connection })]);
    if (pointer === null) return null;
    const id = idOf(pointer, "connection");
    const found = await lookup(operation, id);
    if (found?.session.connection === connection) return found.session;
    const led = JSON.stringify([id, found?.session.id, found?.session.version]);
    if (led === passed) return null;
    passed = led;
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
