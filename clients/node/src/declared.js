/** What a call declares of the sessions it touches, and the loop that adds to it what the script says it needs. */

import { candidates, reap, remove, removedOf } from "./batch.js";
import { bundle } from "./bundle.js";
import { ContendedError, CorruptError } from "./errors.js";
import { isTold } from "./layout.js";

/** Each round more than four means that another call was faster. */
const ROUNDS = 128;

/**
 * Runs a script until it has all that it needs. Returns its `reply`, the `id` that it acted on, the `values` that it was
 * sent last, the sessions `evicted` for the limit, those `reaped` because they had expired and were in the way, and whether the call had happened already, so
 * that what its reply tells of before is what was declared: `isAgain`.
 */
export async function settle(operation, stem, given) {
  const { moved, group } = bundle.operations[stem];
  const declared = { values: { ...given }, removed: [], reaped: [] };
  const { values } = declared;
  operation.enter(values.id);
  // A deletion that names a new id is the end of the old one alone.
  const follows = moved === "follow" && !values.new_id;
  let followed = false;
  // Why an attempt may have happened that declared otherwise.
  let doubtBefore;
  for (let rounds = 0; rounds < ROUNDS;) {
    const reply = await operation.run(stem, values);
    if (reply.word === "need") {
      doubtBefore = operation.doubt;
      if (reply.need.kind === "routing" && stem !== "delete" && !isNamed(reply)) throw new CorruptError("record");
      if (!(await supply(operation, declared, reply))) rounds++;
    } else if (reply.word === "moved" && follows && !followed) {
      followed = true;
      values.id = reply.new_id;
      // It went to another partition, if it was by a login.
      operation.enter(values.id);
    } else {
      // An id that was rotated away twice leads nowhere.
      const leadsNowhere = reply.word === "moved" && followed;
      if (leadsNowhere) operation.checkSure();
      const isAgain = reply.word === "again";
      if (isAgain && doubtBefore) throw operation.ambiguous(doubtBefore);
      const answer = leadsNowhere ? { word: "missing" } : isAgain ? { ...reply, word: "ok" } : reply;
      const ids = (answer.rest?.[0] ?? []).map((row) => row.evicted_id);
      const evicted = [...declared.removed, ...removedOf(values[group?.name] ?? [], ids)];
      // By now it may have another id, if it was rotated since the call changed it.
      const id = answer.word === "ok" && answer.new_id ? answer.new_id : values.id;
      return { reply: answer, id, values, evicted, reaped: declared.reaped, isAgain };
    }
  }
  operation.checkSure();
  throw new ContendedError();
}

/** Whether the owners of a session can be told: only whoever removes it need not. */
function isNamed({ user, connection, node }) {
  return [user, connection, node].every(isTold);
}

/**
 * Adds what the script asked for, and tells whether sessions went that were in the way, which is progress: a user with
 * thousands of sessions takes many rounds.
 */
async function supply(operation, declared, { need, rest, ...fields }) {
  for (const name of need.set ?? []) declared.values[name] = fields[name];
  if (need.run?.operation === "reap") {
    const { removed, corrupt, unreadable } = await reap(operation, [fields.id]);
    declared.reaped.push(...removed);
    return removed.length + corrupt.length + unreadable > 0;
  }
  if (!need.declare && !need.run) return false;

  const ids = rest[0].map(({ id }) => id);
  const found = await candidates(operation, ids);
  if (need.declare) {
    declared.values[need.declare] = found;
    return false;
  }
  const { removed, stale, corrupt, left } = await remove(operation, found, declared.values[need.run.arguments.user]);
  declared.removed.push(...removed);
  return stale.length + corrupt.length + left < found.length;
}
