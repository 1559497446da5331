import { bundle } from "./bundle.js";

/** What a script raises itself, it raises before it writes. */
const OWN = /^(ERR |NOPERM )?cloakroom|: cloakroom: /;
/** At the beginning; or as Redis 6.2 has it, which wraps what a command in a script ran into. */
const CODE = /(?:^|: -)([A-Z]+) /g;

/** Whether a script may have written before it ended with this error: of a command that the user may not run any more
 * nobody knows. */
export function mayHaveWritten({ message }) {
  const codes = Array.from(message.matchAll(CODE), ([, code]) => code);
  return !OWN.test(message) && !codes.some((code) => bundle.nothing_written.includes(code));
}

/** The commands on the line that an error names. Where a fragment ran one for its caller, the error has its name. */
export function commandsAt(source, { message }) {
  const number = message.match(/user_script: ?(\d+)/)?.[1];
  const line = source.split("\n")[number - 1] ?? "";
  const named = (text, pattern) => Array.from(text.matchAll(pattern), ([, name]) => name);
  const onLine = named(line, /redis\.call\('([A-Z]+)'/g);
  return onLine.length > 0 ? onLine : named(message, /\(([A-Z]+)\)/g);
}
