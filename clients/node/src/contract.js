import { bundle } from "./bundle.js";
import { keyOf } from "./call.js";
import { ContractError, CorruptError, ForbiddenError, NotExecutedError } from "./errors.js";
import { codeOf } from "./link.js";
import { LOADS } from "./operation.js";
import { LONGEST } from "./rules.js";

/**
 * Notes the contract of the scripts where none is noted, and refuses to work where a later one is. Of two clients that
 * start at once, one writes and both read what it wrote. A server that takes no writes gets no note, and still serves
 * reads and logouts.
 */
export async function agree(link, key, until) {
  const known = bundle.contract;
  const [, noted] = await link.send(
    [
      ["SET", key, String(known), "NX", "PX", String(LONGEST)],
      ["GET", key],
    ],
    until,
  );
  if (codeOf(noted) === "WRONGTYPE") throw new CorruptError("contract");
  if (codeOf(noted)) throw new NotExecutedError("server", noted);
  if (noted === null) return;
  const found = numberOf(noted);
  if (found > known) throw new ContractError(found, known);
  if (found !== known) throw new CorruptError("contract");
  await link.send([["PEXPIRE", key, String(LONGEST)]], until);
}

function numberOf(bytes) {
  const text = bytes.toString("latin1");
  return /^\d+$/.test(text) ? Number(text) : NaN;
}

/** What makes one. */
const TRANSACTION = ["MULTI", "EXEC"];

/**
 * Loads all scripts, so that the first call of each finds its own, and proves that the user may run all that they do: a
 * command that is refused in the middle of a script would leave half of what that writes.
 */
export async function load(link, tag, until) {
  const { start, operations } = bundle;
  const sources = [...Object.values(operations), start].map(({ source }) => ["SCRIPT", "LOAD", source]);
  const keys = start.keys.map((pattern) => keyOf(pattern, tag, {}));
  const question = ["EVALSHA", start.sha1, String(keys.length), ...keys, ...start.commands];
  // The time that the server tells is noted on the way, as any. No script can ask for a transaction: an empty one
  // changes nothing.
  const commands = [["TIME"], ...sources, question, ...TRANSACTION.map((name) => [name])];
  let replies, transaction, forbidden;
  // A server reads so many in parts, and a flush of its scripts may come between a load and the question.
  for (let loads = 0; loads === 0 || (codeOf(forbidden) === "NOSCRIPT" && loads < LOADS); loads++) {
    [, ...replies] = await link.send(commands, until);
    transaction = replies.splice(-TRANSACTION.length);
    forbidden = replies.pop();
  }
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
