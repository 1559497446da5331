/** Many sessions made at once, each answered as if it came alone. */

import { AmbiguousError } from "./errors.js";
import { OperationId } from "./ids.js";
import { checkList } from "./input.js";
import { draftOf, madeOf, make } from "./one.js";
import { errorOf } from "./reply.js";
import { told } from "./together.js";

/** How many sessions one script makes at most. */
const MOST = 100;
/** How many bytes of entries one script stores at most, but for one session that has more by itself. */
const MOST_BYTES = 1024 * 1024;

/** Begins an operation for each session under an id of its own; the batches are of the call's, which the caller may give. */
export async function createMany(givenId, begin, given) {
  checkList("sessions", given);
  const call = givenId ?? new OperationId();
  // Of an id that the caller did not give, nothing was sent before. The batches in front may have taken long.
  const asItIsSent = (id) => (givenId || id.isOfARepeat ? id : id.ofAFirstCall());
  const answers = [];
  const batches = new Map();
  const alone = [];
  for (const [place, session] of given.entries()) {
    const id = call.nth(place);
    const operation = begin(id);
    const { rules } = operation;
    try {
      const draft = draftOf(operation, session);
      const isLimited = rules.sessionsPerUser !== undefined && draft.user !== "";
      const hasItsOwn = draft.lifetime_ms !== (rules.maxLifetimeMs ?? 0);
      // The script has one lifetime for all, and knows neither of limits nor of leases.
      const { partition } = operation.engine;
      if (!batches.has(partition)) batches.set(partition, []);
      (isLimited || hasItsOwn || operation.identity ? alone : batches.get(partition)).push({ place, id, draft });
    } catch (error) {
      answers[place] = told(error);
    }
  }
  for (const batch of batches.values()) {
    while (batch.length > 0) {
      const members = batch.splice(0, sizeOf(batch)).map(({ id, ...member }) => ({ ...member, id: asItIsSent(id) }));
      const operation = begin(asItIsSent(call));
      operation.enter(members[0].draft.id);
      alone.push(...(await makeBatch(operation, members, answers)));
    }
  }
  // In order: which of a user's sessions a limit refuses or evicts is no matter of luck.
  for (const { place, id, draft } of alone) {
    answers[place] = await make(begin(asItIsSent(id)), draft).catch(told);
  }
  return answers;
}

/** How many of these make a batch. */
function sizeOf(batch) {
  let bytes = 0;
  const most = batch.findIndex(({ draft }, at) => {
    bytes += draft.entries.length;
    return at > 0 && (at === MOST || bytes > MOST_BYTES);
  });
  return most === -1 ? batch.length : most;
}

/** Answers for those that the script made, and returns those that it left. */
async function makeBatch(operation, batch, answers) {
  const { rules } = operation;
  try {
    const session = batch.map(({ draft }) => draft);
    const reply = await operation.run("create_many", { session });
    if (reply.word !== "ok") throw errorOf(reply);
    const left = new Set(reply.rest[0].map(({ position }) => position - 1));
    const { created_at } = reply;
    for (const { place, draft } of batch.filter((_, at) => !left.has(at))) {
      const expires_at = created_at + Math.min(draft.ttl_ms, rules.maxLifetimeMs ?? draft.ttl_ms);
      const made = madeOf(draft, { version: 1, created_at, expires_at });
      answers[place] = { session: made, token: draft.token, evicted: [], reaped: [] };
    }
    const alone = batch.filter((_, at) => left.has(at));
    return alone.map(({ id, ...member }) => ({ ...member, id: operation.idOfPart(id) }));
  } catch (error) {
    told(error);
    for (const { place, id } of batch) {
      answers[place] = error instanceof AmbiguousError ? new AmbiguousError(id.ofARepeat(), error.cause) : error;
    }
    return [];
  }
}
