import { ErrorReply } from "@redis/client";
import { bundle } from "./bundle.js";

/** What a script raises itself, it raises before it writes. */
const OWN = /^(ERR |NOPERM )?cloakroom|: cloakroom: /;
/** At the beginning; or as Redis 6.2 has it, which wraps what a command in a script ran into. */
const CODE = /(?:^|: -)([A-Z]+) /g;

/** Whether something is an error that the server told, by whichever copy of node-redis. */
export function isErrorReply(value) {
  return isOf(value, ErrorReply);
}

/** The code that a server's error begins with, such as NOSCRIPT; undefined for any other reply. */
export function codeOf(reply) {
  return isErrorReply(reply) ? reply.message.split(" ", 1)[0] : undefined;
}

/** Whether an error is of a class of node-redis: a client that was handed in may be of another copy of it. */
export function isOf(error, Class) {
  if (!(error instanceof Error)) return false;
  if (error instanceof Class) return true;
  for (let at = error.constructor; typeof at === "function"; at = Object.getPrototypeOf(at)) {
    if (at.name === Class.name) return true;
  }
  return false;
}

/** Whether a server answered that it takes no writes, since it is not the master. */
export function isOfReplica(reply) {
  return isErrorReply(reply) && codesIn(reply).some((code) => code === "READONLY" || code === "MASTERDOWN");
}

function codesIn({ message }) {
  return Array.from(message.matchAll(CODE), ([, code]) => code);
}

/** Whether a script may have written before it ended with this error: of a command that the user may not run any more
 * nobody knows. */
export function mayHaveWritten(error) {
  return !OWN.test(error.message) && !codesIn(error).some((code) => bundle.nothing_written.includes(code));
}

/** A server's error without what it repeats of a command, for that may be the id of a session. */
export function quiet(error) {
  if (!isErrorReply(error)) return error;
  const message = error.message.replace(/'.*'|".*"|`.*`/s, "'…'");
  return message === error.message ? error : new error.constructor(message);
}

/** The commands on the line that an error names. Where a fragment ran one for its caller, the error has its name. */
export function commandsAt(source, { message }) {
  const number = message.match(/user_script: ?(\d+)/)?.[1];
  const line = source.split("\n")[number - 1] ?? "";
  const named = (text, pattern) => Array.from(text.matchAll(pattern), ([, name]) => name);
  const onLine = named(line, /redis\.call\('([A-Z]+)'/g);
  return onLine.length > 0 ? onLine : named(message, /\(([A-Z]+)\)/g);
}
