/** What holds of all keys of a namespace, as the cases write them, where nothing was planted: what is wrong, in sentences. */
export function violations(stored) {
  const held = Object.entries(stored).filter(([key]) => key.startsWith(SESSION));
  const broken = held.filter(([, { record }]) => !record).map(([key]) => `${key} has no record`);
  if (broken.length > 0) return broken;
  const records = held.map(([key, { record }]) => [key.slice(SESSION.length), record]);
  const live = new Map(records.filter(([, { kind }]) => kind === "live"));
  const wrong = [...ofRecords(stored, live), ...ofEntries(stored, live), ...ofMigrations(stored, records), ...ofNodes(stored)];
  return "{ns:p}:contract" in stored ? [...wrong, "a script noted a contract"] : wrong;
}

const SESSION = "{ns:p}:session:";
const OWNED = /^\{ns:p\}:(user|node):(.*):sessions$/s;
const POINTER = /^\{ns:p\}:connection:(.*):session$/s;
const LEASE = /^\{ns:p\}:node:(.*):lease$/s;
const NO_TASK = "0".repeat(16);

function membersOf(stored, key) {
  return new Map(Object.entries(stored[key]?.zset ?? {}));
}

/** Each session has its entries. */
function ofRecords(stored, live) {
  const wrong = [];
  for (const [id, record] of live) {
    const owners = ["user", "node"].filter((owner) => record[owner] !== "");
    const needed = owners.map((owner) => [`{ns:p}:${owner}:${record[owner]}:sessions`, record.created_at]);
    for (const [key, score] of [["{ns:p}:expiry", record.expires_at], ...needed]) {
      if (membersOf(stored, key).get(id) !== score) wrong.push(`${key} does not have ${id} at ${score}`);
    }
    const pointer = `{ns:p}:connection:${record.connection}:session`;
    if (record.connection !== "" && stored[pointer]?.string !== id) wrong.push(`${pointer} does not name ${id}`);
  }
  return wrong;
}

/** Each entry has its session. The empty member of the expiry index is its own note. */
function ofEntries(stored, live) {
  const expiring = [...membersOf(stored, "{ns:p}:expiry").keys()].filter((id) => id !== "" && !live.has(id));
  const wrong = expiring.map((id) => `the expiry index has ${id}`);
  for (const key of Object.keys(stored)) {
    const [, owner, name] = OWNED.exec(key) ?? [];
    if (owner) {
      const strangers = [...membersOf(stored, key).keys()].filter((id) => live.get(id)?.[owner] !== name);
      wrong.push(...strangers.map((id) => `${key} has ${id}`));
    }
    const [, connection] = POINTER.exec(key) ?? [];
    if (connection && live.get(stored[key].string)?.connection !== connection) wrong.push(`${key} names ${stored[key].string}`);
  }
  return wrong;
}

/** What is on its way is listed, by the end of its freeze if it has one. An entry may outlive that. */
function ofMigrations(stored, records) {
  const listed = membersOf(stored, "{ns:p}:migrations");
  const isRight = ([id, { kind, freeze, task = NO_TASK }]) => {
    if (kind === "live" && freeze && freeze.task !== NO_TASK) return listed.get(id) === freeze.frozen_until;
    return task === NO_TASK || listed.has(id);
  };
  return records.filter((one) => !isRight(one)).map(([id]) => `${id} is on its way, and listed at ${listed.get(id)}`);
}

/** Nodes are listed by the ends of their leases, and those that are listed are kept. */
function ofNodes(stored) {
  const named = (key) => [...membersOf(stored, key).keys()].sort();
  const leased = Object.keys(stored).flatMap((key) => LEASE.exec(key)?.[1] ?? []);
  const [nodes, kept] = [named("{ns:p}:nodes"), named("{ns:p}:nodes:kept")];
  const isRight = String(leased.sort()) === String(nodes) && String(nodes) === String(kept);
  return isRight ? [] : [`${leased} are leased, ${nodes} listed and ${kept} kept`];
}
