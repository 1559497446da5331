/** What became of an id, for whoever is asked about it: for support, and for a page that tells a user. */

import { isLeft, stored } from "./lookup.js";
import { unlessOver } from "./record.js";

/** One word for it, with what belongs to it. It names no other id. */
export async function explain(operation, given) {
  const id = operation.partitions.idOf("id", given);
  operation.enter(id);
  const found = await stored(operation, id);
  if (!found) return { word: "unknown" };
  const { kind, expires_at: atMs } = found.record;
  if (kind === "live" && atMs <= found.now) return { word: "expired", atMs };
  const record = unlessOver(found.record, found.now);
  if (!record) return { word: "unknown" };
  if (record.kind === "live") return { word: "live" };
  if (record.kind === "departed") return { word: "departed", place: record.place };
  if (record.kind === "moved") return { word: "rotated", byLogin: false };
  return isLeft(record) ? { word: "rotated", byLogin: true } : { word: "deleted" };
}
