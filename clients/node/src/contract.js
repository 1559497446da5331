import { bundle } from "./bundle.js";
import { keyOf } from "./call.js";
import { ContractError, CorruptError, ForbiddenError, IdSchemeError, NotExecutedError, PartitionsError } from "./errors.js";
import { Lost } from "./link.js";
import { firstTag, MOST, Partitions } from "./partitions.js";
import { LONGEST } from "./rules.js";
import { codeOf } from "./server-errors.js";

/**
 * Notes the contract of the scripts in each partition where none is noted, or one before it that goes with it, with the number
 * of those where it is not 1, and returns the partitions that there are, and how many events they keep. Refuses to work where
 * one is noted that it does not go with, another number than is wanted, or another scheme of ids. Of two clients that start at once, one writes and both read what it wrote.
 * A server that takes no writes gets no note, and still serves reads and logouts.
 */
export async function agree(servers, namespace, wanted, idScheme, until) {
  // The partition of the tag 0 comes first, which namespaces of all numbers have: who is refused there has noted nothing
  // anywhere.
  const first = firstTag(namespace);
  await load(servers, first, until);
  const [count, events] = await noteIn(servers, first, { wanted, idScheme, events: 0 }, until);
  const partitions = new Partitions(namespace, count, events, idScheme);
  // Of a cluster one of the masters has to answer. Scripts are loaded by the calls that find another back.
  const homes = servers.homes([first, ...partitions.tags]).filter((tag) => tag !== first);
  const rest = partitions.tags.filter((tag) => tag !== first);
  const notes = rest.map((tag) => noteIn(servers, tag, { wanted: count, idScheme, events }, until));
  const all = [...homes.map((tag) => load(servers, tag, until)), ...notes];
  await Promise.all(all.map((one) => one.catch(unlessAway)));
  return partitions;
}

function unlessAway(error) {
  const isAway = error instanceof NotExecutedError && error.reason !== "server" && error.reason !== "closed";
  if (!isAway && !(error instanceof Lost)) throw error;
}

/** Notes it in a partition, and tells how many there are, and how many events each keeps. */
async function noteIn(servers, tag, { wanted, idScheme, events }, until) {
  const link = servers.at(tag);
  const key = keyOf(bundle.keys.contract.pattern, tag, {});
  const count = wanted ?? 1;
  // What is not the default; and what comes before that.
  const more = [...(idScheme === "uuid" ? [] : [idScheme]), ...(events > 0 ? [events] : [])];
  const note = [bundle.contract, ...(count > 1 || more.length > 0 ? [count] : []), ...more].join(" ");
  const [, noted] = await link.send(
    [
      ["SET", key, note, "NX", "PX", String(LONGEST)],
      ["GET", key],
    ],
    until,
  );
  if (codeOf(noted) === "WRONGTYPE") throw new CorruptError("contract");
  if (codeOf(noted)) throw new NotExecutedError("server", noted);
  if (noted === null) return [count, events];
  const { contract, rest, found, scheme, kept } = read(noted);
  if (wanted !== undefined && found !== wanted) throw new PartitionsError(found, wanted);
  if (scheme !== idScheme) throw new IdSchemeError(scheme, idScheme);
  // Once it is raised no client starts that does not know this one. The rest of the note stays. Whoever starts at the same
  // time writes the same, for one release at a time is the next.
  const renewed = ["PEXPIRE", key, String(LONGEST)];
  const raised = ["SET", key, bundle.contract + rest, "XX", "PX", String(LONGEST)];
  await link.send([contract < bundle.contract ? raised : renewed], until);
  return [found, kept];
}

/** The contract that is noted, and what is behind it: how many partitions, how ids are made, how many events are kept. */
function read(bytes) {
  const text = bytes.toString("latin1");
  // What another contract writes behind its number nobody knows here.
  const number = Number(/^\d+(?= |$)/.exec(text)?.[0] ?? 0);
  if (number > 0 && !bundle.accepts.includes(number)) throw new ContractError(number, Math.max(...bundle.accepts));
  const words = /^(\d+)((?: (\d+)(?: (uuid|token))?(?: (\d+))?)?)$/.exec(text) ?? [];
  const [, digits = "0", rest, count = "1", scheme = "uuid", events = "0"] = words;
  const found = Number(count);
  if (Number(digits) === 0 || !(found >= 1 && found <= MOST)) throw new CorruptError("contract");
  return { contract: number, rest, found, scheme, kept: Number(events) };
}

/** How often the scripts are loaded at most: a flush may come between the load and the question behind it. */
const LOADS = 16;

/** What makes one. */
const TRANSACTION = ["MULTI", "EXEC"];

/** What this client does not call: it reads without a script, and mends nothing. */
const NOT_CALLED = new Set(["get", "mend_key", "mend_node", "mend_record", "mend_session"]);

/**
 * Loads the scripts that it calls, so that the first call of each finds its own, and proves that the user may run all that they do: a
 * command that is refused in the middle of a script would leave half of what that writes.
 */
export async function load(servers, tag, until) {
  const link = servers.at(tag);
  const { start, operations } = bundle;
  const called = Object.keys(operations).filter((stem) => !NOT_CALLED.has(stem));
  const scripts = [...called.map((stem) => operations[stem]), start];
  const sources = scripts.map(({ source }) => ["SCRIPT", "LOAD", source]);
  const keys = start.keys.map((pattern) => keyOf(pattern, tag, {}));
  const question = ["EVALSHA", start.sha1, String(keys.length), ...keys, ...start.commands];
  // The time that the server tells is noted on the way, as any. No script can ask for a transaction: an empty one
  // changes nothing.
  const commands = [["TIME"], ...sources, question, ...TRANSACTION.map((name) => [name])];
  let replies, transaction, forbidden;
  // A server reads so many in parts, and a flush of its scripts may come between a load and the question.
  for (let loads = 0; loads === 0 || (codeOf(forbidden) === "NOSCRIPT" && loads < LOADS); loads++) {
    [, ...replies] = await link.sendToOwner(commands, until);
    transaction = replies.splice(-TRANSACTION.length);
    forbidden = replies.pop();
  }
  // Its slot is on its way, where no script on several new keys is served.
  if (["TRYAGAIN", "ASK"].includes(codeOf(forbidden))) return;
  replies.forEach((reply) => checkAllowed(reply, "+script|load"));
  checkAllowed(forbidden, / key/.test(forbidden.message) ? `~${tag}:*` : "+evalsha");
  // Of EXEC the code is that of a transaction that is discarded, and the rest says why.
  const refused = TRANSACTION.filter((_, at) => codeOf(transaction[at]) && /NOPERM/.test(transaction[at].message));
  const lacking = [...forbidden, ...refused].map((command) => `+${command}`.toLowerCase());
  if (lacking.length > 0) throw new ForbiddenError(lacking);
}

function checkAllowed(reply, lacking) {
  if (codeOf(reply) === "NOPERM") throw new ForbiddenError([lacking]);
  if (codeOf(reply)) throw new NotExecutedError("server", reply);
}
