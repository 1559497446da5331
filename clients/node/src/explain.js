/** What became of an id, for whoever is asked about it: for support, and for a page that tells a user. */

import { CorruptError } from "./errors.js";
import { isLeft } from "./lookup.js";
import { decodeRecord, unlessOver } from "./record.js";

/** One word for it, with what belongs to it. It names no other id. */
export async function explain(operation, given) {
  const id = operation.partitions.idOf("id", given);
  operation.enter(id);
  const [time, bytes] = await operation.read("record", ["TIME"], ["GET", operation.key("session", { id })]);
  if (bytes === null) return { word: "unknown" };
  const stored = decodeRecord(bytes);
  if (!stored) throw new CorruptError("record");
  const now = operation.now(time);
  if (stored.kind === "live" && stored.expires_at <= now) return { word: "expired", atMs: stored.expires_at };
  const record = unlessOver(stored, now);
  if (!record) return { word: "unknown" };
  if (record.kind === "live") return { word: "live" };
  if (record.kind === "departed") return { word: "departed", place: record.place };
  if (record.kind === "moved") return { word: "rotated", byLogin: false };
  return isLeft(record) ? { word: "rotated", byLogin: true } : { word: "deleted" };
}
