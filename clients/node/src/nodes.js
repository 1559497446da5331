/** The operations on nodes and their leases. */

import { Claimed, Recovered } from "./answers.js";
import { BATCH, candidates, toldName } from "./batch.js";
import { bundle } from "./bundle.js";
import { Cursor, cursorOf } from "./cursor.js";
import { CloakroomError, CorruptError, FencedError, InvalidError, LeasedError } from "./errors.js";
import { NodeIdentity, OperationId, requireName } from "./ids.js";
import { checkFlag, checkInstance, checkInteger, checkOptions, checkWord } from "./input.js";
import { readPage } from "./index-page.js";
import { foundOf, isTold, readLayout } from "./layout.js";
import { count } from "./many.js";
import { errorOf } from "./reply.js";
import { LONGEST } from "./rules.js";
import { scored } from "./scored.js";
import { allOf, together } from "./together.js";

const DAY = 24 * 3_600_000;
/** How many nodes a full page has. */
const PAGE = 500;
/** How often a batch is read again whose sessions kept changing. */
const ROUNDS = 12;

export async function heartbeat(operation, identity, beat) {
  checkInstance("identity", identity, NodeIdentity);
  checkOptions("beat", beat, ["want", "leaseMs", "keepMs"]);
  const { want = "renew", leaseMs = 15_000, keepMs = DAY } = beat;
  const values = {
    node: identity.node,
    lease_ms: checkInteger("leaseMs", leaseMs, 1, DAY),
    keep_ms: checkInteger("keepMs", keepMs, 1000, LONGEST),
    want: checkWord("want", want, ["register", "renew", "release"]),
  };
  if (operation.engine.isOne) return beatIn(operation, identity, values);
  const parts = operation.parts();
  const gained = parts.filter((part) => !identity.holds(part.engine));
  const outcomes = await together(parts, (part) => beatIn(part, identity, values));
  const taken = outcomes.filter((outcome) => outcome instanceof LeasedError);
  if (taken.length > 0) {
    // Another process goes by this name. What was taken beside it just now is given back.
    await together(gained.filter((part) => identity.holds(part.engine)), (part) => giveBack(part, identity, values));
    throw taken.sort((one, other) => other.untilMs - one.untilMs)[0];
  }
  const failed = outcomes.find((outcome) => outcome instanceof CloakroomError && !(outcome instanceof FencedError));
  if (failed) throw failed;
  const lost = outcomes.flatMap((outcome, at) => (outcome instanceof FencedError ? [at] : []));
  if (lost.length > 0) throw new FencedError({ partitions: lost });
  return Math.min(...outcomes);
}

/** The same in one partition. */
async function beatIn(operation, identity, values) {
  const { engine } = operation;
  const lease_id = identity.leaseIn(engine);
  try {
    const { deadline } = expectOk(await operation.run("heartbeat", { ...values, lease_id }));
    identity.hold(engine, values.want !== "release");
    return deadline;
  } catch (error) {
    if (error instanceof FencedError) identity.lose(engine, lease_id);
    throw error;
  }
}

async function giveBack(operation, identity, values) {
  const lease = identity.leaseIn(operation.engine);
  // To find out may have taken the whole time of the heartbeat.
  operation.begin();
  identity.lose(operation.engine, lease);
  await operation.run("heartbeat", { ...values, want: "release", lease_id: lease });
}

/** The reply, if it is ok; of both scripts, what a lease has to do with it if not. */
function expectOk(reply) {
  if (reply.word === "lapsed") throw new FencedError();
  if (reply.word !== "ok") throw errorOf(reply);
  return reply;
}

/** The nodes by name. One holds a lease that it holds in each partition. */
async function registered(operation) {
  const found = new Map();
  for (const node of (await allOf(operation.parts(), registeredIn)).flat()) {
    const known = found.get(node.name) ?? node;
    const leaseUntilMs = Math.min(known.leaseUntilMs, node.leaseUntilMs);
    found.set(node.name, { name: node.name, leaseUntilMs, isLive: known.isLive && node.isLive });
  }
  return [...found.values()].sort((one, other) => (one.name < other.name ? -1 : 1));
}

async function registeredIn(operation) {
  const found = new Map();
  for (let from = 0; ;) {
    // By the ends of their leases: a renewal moves a node behind the page, so none is passed over.
    const range = [operation.key("nodes", {}), String(from), "+inf", "WITHSCORES", "LIMIT", "0", String(PAGE)];
    const [read] = await operation.read("nodes", ["ZRANGEBYSCORE", ...range]);
    const page = scored(read);
    const listed = page.map(([member]) => foundOf(member));
    // One whose lease was renewed between two pages comes again.
    // What is no text is passed over, and forgotten when its time is over.
    for (const node of (await standing(operation, listed)).filter(({ name }) => isTold(name))) found.set(node.name, node);
    if (listed.length < PAGE) break;
    const [, last] = page.at(-1);
    // A whole page of one millisecond: what else ended in it is not seen this time.
    from = last > from ? last : last + 1;
  }
  return [...found.values()];
}

/** How the leases of nodes stand; one that was forgotten meanwhile is left out. */
async function standing(operation, names) {
  if (names.length === 0) return [];
  const read = await natively(operation, names);
  if (read) return read;
  const reply = await operation.run("nodes", { listed: names.map((node) => ({ node })) });
  if (reply.word !== "ok") throw errorOf(reply);
  return reply.rest[0].map(({ node, deadline, lease }) => ({ name: node, leaseUntilMs: deadline, isLive: lease === "held" }));
}

/** The same without the script. Undefined: something is not as it should be, or the server does not read it so. */
async function natively(operation, names) {
  const leases = names.map((node) => ["GET", operation.key("lease", { node })]);
  const read = await operation.readAtOnce(...leases, ["ZMSCORE", operation.key("nodes", {}), ...names]);
  if (!read) return undefined;
  const ends = read.replies.pop();
  const found = [];
  for (const [at, name] of names.entries()) {
    const bytes = read.replies[at];
    if (bytes !== null) {
      const lease = leaseOf(bytes);
      if (!lease) return undefined;
      found.push({ name, leaseUntilMs: lease.deadline, isLive: isHeld(lease, read.now) });
    } else if (ends[at] !== null) {
      // A lease may be forgotten before its node is, which is listed as long as others keep it.
      found.push({ name, leaseUntilMs: Number(ends[at]), isLive: false });
    }
  }
  return found;
}

function leaseOf(bytes) {
  return bytes.length === bundle.lease.header_bytes ? readLayout({ ...bundle.lease, texts: [] }, bytes, 0).values : null;
}

/** One that would be held for longer than it is long was renewed by a clock that was set back since: it is over. */
function isHeld({ deadline, length }, now) {
  return deadline > now && deadline - now <= length;
}

export async function nodes(operation) {
  const found = await registered(operation);
  for (const node of found) node.sessions = await count(operation, { node: node.name });
  return found;
}

export async function lapsedNodes(operation) {
  return (await registered(operation)).filter(({ isLive }) => !isLive).map(({ name }) => name);
}

export async function recover(operation, node, to, claim) {
  checkOptions("claim", claim, ["batch", "reconnectMs", "evenIfLeased", "after"]);
  const { batch = BATCH, reconnectMs = 60_000, evenIfLeased = false } = claim;
  const after = cursorOf("after", claim.after);
  if (requireName("node", node) === requireName("to", to)) throw new InvalidError("to", "is the node itself");
  if (operation.identity && operation.identity.node !== to) {
    throw new InvalidError("to", "is not the node that makes the call");
  }
  checkInteger("batch", batch, 1, BATCH);
  const values = {
    node,
    new_node: to,
    when: checkFlag("evenIfLeased", evenIfLeased) ? "always" : "lapsed",
    reconnect_ms: checkInteger("reconnectMs", reconnectMs, 1, LONGEST),
  };
  if (operation.engine.isOne) return recoverIn(operation, values, batch, after);
  // A batch is of one partition, and the cursor leads through all.
  const { partitions, rules } = operation;
  const first = after === undefined ? 0 : partitions.of(after.id);
  let leased;
  for (const part of operation.parts().slice(first)) {
    const { partition } = part.engine;
    part.begin();
    try {
      const claimed = await recoverIn(part, values, batch, partition === first ? after : undefined);
      if (isEmpty(claimed)) continue;
      const behind = partition + 1;
      if (claimed.next === null && behind < partitions.count) {
        // No session was made so early.
        const id = partitions.idOf("id", partitions.newIdIn(behind, new OperationId()));
        claimed.next = new Cursor({ createdAtMs: 0, id, ties: 0 });
      }
      return claimed;
    } catch (error) {
      if (!(error instanceof LeasedError)) throw error;
      leased = error;
    }
  }
  if (leased) throw leased;
  return nothing();
}

function nothing() {
  return new Claimed({ sessions: [], frozen: [], corrupt: [], stale: [], unreadable: 0, next: null });
}

function isEmpty({ sessions, frozen, corrupt, stale, unreadable, next }) {
  return sessions.length + frozen.length + corrupt.length + stale.length + unreadable === 0 && next === null;
}

/** The same in one partition. */
async function recoverIn(operation, values, batch, after) {
  operation.changes();
  const page = await readPage(operation, operation.key("node", { node: values.node }), "node", batch, after);
  const claimed = nothing();
  claimed.next = page.next(after);
  const [left] = await take(operation, values, page.ids, claimed);
  // The page ends before those that were left; where nothing there names its end, it is read again.
  if (left !== undefined) claimed.next = page.behind(page.ids.indexOf(left), after) ?? after ?? null;
  return claimed;
}

/** Takes sessions, and returns those that were left because of their size. Those that change meanwhile are tried again. */
async function take(operation, values, ids, claimed) {
  const allLeft = [];
  let stale = ids;
  for (let rounds = 0; rounds === 0 || (stale.length > 0 && rounds < ROUNDS); rounds++) {
    try {
      const taken = await takeOnce(operation, values, stale, claimed);
      stale = taken.stale;
      allLeft.unshift(...taken.left);
    } catch (error) {
      // A lease that came or went since: what was taken before is told.
      const isRefused = error instanceof LeasedError || error instanceof FencedError;
      if (isRefused && claimed.sessions.length > 0) break;
      throw error;
    }
  }
  claimed.stale.push(...told(stale, claimed));
  return allLeft;
}

/** Those that can be told; the others are counted. */
function told(ids, claimed) {
  const texts = ids.filter(isTold);
  claimed.unreadable += ids.length - texts.length;
  return texts;
}

/** Takes sessions, and returns those that changed since they were read, and those left. With none it lets go of the node. */
async function takeOnce(operation, values, given, claimed) {
  const session = await candidates(operation, given);
  const reply = expectOk(await operation.run("recover", { ...values, session }));
  const [recovered, stale, frozen, corrupt] = reply.rest;
  const ids = (rows) => rows.map(({ id }) => id);
  const texts = told(ids(recovered), claimed);
  const rows = recovered.filter(({ id }) => texts.includes(id));
  claimed.sessions.push(...rows.map((row) => recoveredOf(session, row)));
  claimed.frozen.push(...told(ids(frozen), claimed));
  claimed.corrupt.push(...told(ids(corrupt), claimed));
  return { stale: ids(stale), left: given.slice(given.length - reply.left) };
}

function recoveredOf(found, { id, version }) {
  const candidate = found.find((one) => one.id === id);
  if (!candidate) throw new CorruptError("reply that names another session");
  const { user, connection } = candidate;
  return new Recovered({ id, version, user: toldName(user), connection: toldName(connection) });
}
