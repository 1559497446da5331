/** A page of an index as a server has it, and how a reading goes on behind it. */

import { Cursor } from "./cursor.js";
import { isSessionId } from "./ids.js";
import { foundOf, storedOf } from "./layout.js";
import { scored } from "./scored.js";

/** A page of an index. */
class IndexPage {
  /**
   * `entries` is all that stands there, one behind the other; `from` the score from which on it was read, and `skip` how many
   * entries from there on come before it; `isFull` tells whether others may follow.
   */
  constructor(entries, from, skip, isFull) {
    this.entries = entries;
    this.from = from;
    this.skip = skip;
    this.isFull = isFull;
  }

  /** What is found as ids. */
  get ids() {
    return this.entries.map(({ id }) => id);
  }

  /** How many entries a page that is read again has at most, of one that was asked for so many. */
  size(asked) {
    return this.isFull ? this.entries.length : asked;
  }

  /** What reads its ids again. */
  again(key, asked) {
    return ["ZRANGEBYSCORE", key, String(this.from), "+inf", "LIMIT", String(this.skip), String(this.size(asked))];
  }

  /** Whether these are its ids. */
  has(members) {
    return members.length === this.entries.length && this.entries.every(({ id }, at) => id === foundOf(members[at]));
  }

  /** Where the page behind the first so many entries begins; null where no cursor can name that. */
  behind(count, before) {
    const named = this.entries.slice(0, count).filter(({ id }) => isSessionId(id));
    if (named.length === 0) return null;
    const { id, createdAtMs } = named.at(-1);
    const here = named.filter((entry) => entry.createdAtMs === createdAtMs).length;
    return new Cursor({ createdAtMs, id, ties: here + (before?.createdAtMs === createdAtMs ? before.ties : 0) });
  }

  /** The same behind all of it; null if no others follow. */
  next(before) {
    return this.isFull ? this.behind(this.entries.length, before) : null;
  }
}

/**
 * Reads a page: from the cursor's score on, inclusive, without those that came before. What is not as it should be is the
 * index, `what`.
 */
export async function readPage(operation, key, what, size, after) {
  const bytesOf = (id) => Buffer.from(storedOf(id));
  const passed = ({ id, createdAtMs }) =>
    createdAtMs === after?.createdAtMs && Buffer.compare(bytesOf(id), bytesOf(after.id)) <= 0;
  const from = after?.createdAtMs ?? 0;
  let ties = after?.ties ?? 0;
  for (;;) {
    const read = await readFrom(operation, key, what, from, size + ties);
    const entries = read.filter((entry) => !passed(entry));
    const skip = read.length - entries.length;
    // More may sort before the cursor than it knows of: a rotation gives an entry another id under its old score.
    if (entries.length >= size) return new IndexPage(upToAnId(entries.slice(0, size)), from, skip, true);
    if (read.length < size + ties) return new IndexPage(entries, from, skip, false);
    ties = skip;
  }
}

/** Where others follow, a cursor names the last entry; a page of nothing that can be named stays as it is. */
function upToAnId(entries) {
  const last = entries.findLastIndex(({ id }) => isSessionId(id));
  return last < 0 ? entries : entries.slice(0, last + 1);
}

async function readFrom(operation, key, what, score, limit) {
  const range = [key, String(score), "+inf", "WITHSCORES", "LIMIT", "0", String(limit)];
  const [read] = await operation.read(what, ["ZRANGEBYSCORE", ...range]);
  return scored(read).map(([member, createdAtMs]) => ({ id: foundOf(member), createdAtMs }));
}
