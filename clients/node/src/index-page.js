/** A page of an index, where it stands there, and how a reading goes on behind it. */

import { idOf } from "./lookup.js";

/**
 * Reads a page: from the cursor's score on, inclusive, without those that came before. `from` is that score, and `skip` how
 * many entries from there on come before the page. What is not as it should be is the index, `what`.
 */
export async function readPage(operation, key, what, size, after) {
  if (!after) return { entries: await readFrom(operation, key, what, 0, size), from: 0, skip: 0 };
  const { createdAt: from } = after;
  const passed = ({ id, createdAt }) =>
    createdAt === from && Buffer.compare(Buffer.from(id), Buffer.from(after.id)) <= 0;
  let { ties } = after;
  for (;;) {
    const read = await readFrom(operation, key, what, from, size + ties);
    const entries = read.filter((entry) => !passed(entry));
    const skip = read.length - entries.length;
    // More may sort before the cursor than it knows of: a rotation gives an entry another id under its old score.
    if (read.length < size + ties || entries.length >= size) return { entries: entries.slice(0, size), from, skip };
    ties = skip;
  }
}

/** Where the page behind one of this size begins, which ended with these entries; a page that is not full is the last. */
export function cursorBehind(entries, size, after) {
  const last = entries.at(-1);
  if (entries.length < size) return null;
  const here = entries.filter(({ createdAt }) => createdAt === last.createdAt).length;
  const ties = here + (after?.createdAt === last.createdAt ? after.ties : 0);
  return { createdAt: last.createdAt, id: last.id, ties };
}

async function readFrom(operation, key, what, score, limit) {
  const range = [key, String(score), "+inf", "WITHSCORES", "LIMIT", "0", String(limit)];
  const [flat] = await operation.read(what, ["ZRANGEBYSCORE", ...range]);
  const entries = [];
  for (let at = 0; at < flat.length; at += 2) {
    entries.push({ id: idOf(flat[at], what), createdAt: Number(flat[at + 1]) });
  }
  return entries;
}
