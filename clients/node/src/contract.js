import { bundle } from "./bundle.js";
import { ContractError, CorruptError, NotExecutedError } from "./errors.js";
import { codeOf } from "./link.js";
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

/** Loads all scripts, so that the first call of each finds its own. */
export async function load(link, until) {
  const scripts = Object.values(bundle.operations);
  const replies = await link.send(
    scripts.map(({ source }) => ["SCRIPT", "LOAD", source]),
    until,
  );
  const refused = replies.find(codeOf);
  if (refused) throw new NotExecutedError("server", refused);
}
