/** The operations on nodes and their leases. */

import { BATCH, candidates } from "./batch.js";
import { CorruptError, FencedError, InvalidError, LeasedError } from "./errors.js";
import { NodeIdentity, requireName } from "./ids.js";
import { cursorBehind, readPage } from "./index-page.js";
import { count } from "./many.js";
import { errorOf } from "./reply.js";
import { checkInteger, checkNames, checkWord } from "./rules.js";

const DAY = 24 * 3_600_000;
const TEN_YEARS = 3650 * DAY;
/** How many nodes a full page has. */
const PAGE = 1000;
/** How often a batch is read again whose sessions kept changing. */
const ROUNDS = 12;

export async function heartbeat(operation, identity, beat) {
  if (!(identity instanceof NodeIdentity)) throw new InvalidError("identity", "is none");
  checkNames("beat", beat, ["want", "lease", "keep"]);
  const { want = "renew", lease = 15_000, keep = DAY } = beat;
  const reply = await operation.run("heartbeat", {
    lease_id: identity.lease,
    node: identity.node,
    lease_ms: checkInteger("lease", lease, 1, DAY),
    keep_ms: checkInteger("keep", keep, 1000, TEN_YEARS),
    want: checkWord("want", want, ["register", "renew", "release"]),
  });
  return expectOk(reply).deadline;
}

/** The reply, if it is ok; of both scripts, what a lease has to do with it if not. */
function expectOk(reply) {
  if (reply.word === "taken") throw new LeasedError(reply);
  if (reply.word === "missing") throw new FencedError();
  if (reply.word !== "ok") throw errorOf(reply);
  return reply;
}

async function registered(operation, want) {
  const found = new Map();
  for (let from = 0; ;) {
    const reply = await operation.run("nodes", { from_ms: from, want });
    if (reply.word !== "ok") throw errorOf(reply);
    const [page] = reply.rest;
    // One whose lease was renewed between two pages comes again.
    for (const { node, deadline } of page) {
      found.set(node, { name: node, leaseUntil: deadline, isLive: deadline > reply.now });
    }
    if (page.length < PAGE) break;
    const last = page.at(-1).deadline;
    // A whole page of one millisecond: what else ended in it is not seen this time.
    from = last > from ? last : last + 1;
  }
  return [...found.values()].sort((one, other) => (one.name < other.name ? -1 : 1));
}

export async function nodes(operation) {
  const found = await registered(operation, "all");
  for (const node of found) node.sessions = await count(operation, { node: node.name });
  return found;
}

export async function lapsedNodes(operation) {
  return (await registered(operation, "lapsed")).map(({ name }) => name);
}

export async function recover(operation, node, to, claim) {
  checkNames("claim", claim, ["batch", "reconnect", "drain", "after"]);
  const { batch = BATCH, reconnect = 60_000, drain = false, after } = claim;
  if (requireName("node", node) === requireName("to", to)) throw new InvalidError("to", "is the node itself");
  if (operation.identity && operation.identity.node !== to) {
    throw new InvalidError("to", "is not the node that makes the call");
  }
  checkInteger("batch", batch, 1, BATCH);
  const values = {
    node,
    new_node: to,
    when: drain ? "always" : "lapsed",
    reconnect_ms: checkInteger("reconnect", reconnect, 1, TEN_YEARS),
    grace_ms: operation.rules.grace,
  };
  const { entries } = await readPage(operation, operation.key("node", { node }), "node", batch, after);
  const next = cursorBehind(entries, batch, after);
  const claimed = { sessions: [], frozen: [], corrupt: [], stale: entries.map(({ id }) => id), next };
  let rounds = 0;
  do {
    try {
      await take(operation, values, claimed);
    } catch (error) {
      // A lease that came or went since: what was taken before is told.
      const isRefused = error instanceof LeasedError || error instanceof FencedError;
      if (isRefused && claimed.sessions.length > 0) break;
      throw error;
    }
    rounds++;
  } while (claimed.stale.length > 0 && rounds < ROUNDS);
  return claimed;
}

/** Takes those that are left, and leaves those that changed since they were read. With none it lets go of the node. */
async function take(operation, values, claimed) {
  const found = await candidates(operation, claimed.stale);
  const session = found.filter(({ broken }) => !broken);
  const reply = expectOk(await operation.run("recover", { ...values, session }));
  const [recovered, stale, frozen, corrupt] = reply.rest;
  const ids = (rows) => rows.map(({ id }) => id);
  claimed.sessions.push(...recovered.map((row) => recoveredOf(found, row)));
  claimed.frozen.push(...ids(frozen));
  claimed.corrupt.push(...ids(corrupt), ...ids(found.filter(({ broken }) => broken)));
  claimed.stale = ids(stale);
}

function recoveredOf(found, { id, version }) {
  const candidate = found.find((one) => one.id === id);
  if (!candidate) throw new CorruptError("reply that names another session");
  return { id, version, user: candidate.user || null, connection: candidate.connection || null };
}
