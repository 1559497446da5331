import { isText } from "./ids.js";
import { InvalidError, TooLargeError } from "./errors.js";
import { encodeEntries } from "./entries.js";

/** Ten years, in milliseconds. */
export const LONGEST = 10 * 365 * 24 * 3600 * 1000;
/** What a session's entries, and so a value, may take at most: their lengths take three bytes, as the scripts have it. */
const MOST_BYTES = 15 * 1024 * 1024;
const MOST_ENTRIES = 1_000_000;
const KEY_BYTES = 255;

const DEFAULTS = {
  idScheme: "uuid",
  ttl: 30 * 60_000,
  maxLifetime: undefined,
  refreshThreshold: 0.5,
  touchInterval: 0,
  grace: 3_600_000,
  rotationGrace: 30_000,
  tombstone: 30_000,
  sessionsPerUser: 0,
  onLimit: "reject",
  valueBytes: 256 * 1024,
  sessionBytes: 256 * 1024,
  sessionEntries: 1024,
};

/** What holds for all sessions of a store, checked. Durations are milliseconds. */
export function rulesOf(given = {}) {
  checkNames("rule set", given, Object.keys(DEFAULTS));
  const rules = { ...DEFAULTS, ...given };
  checkTtl(rules.ttl);
  if (rules.maxLifetime !== undefined) checkInteger("maxLifetime", rules.maxLifetime, 1, LONGEST);
  checkInteger("touchInterval", rules.touchInterval, 0, rules.ttl);
  checkInteger("grace", rules.grace, 1000, LONGEST);
  checkInteger("rotationGrace", rules.rotationGrace, 1, LONGEST);
  checkInteger("tombstone", rules.tombstone, 1, LONGEST);
  checkInteger("sessionsPerUser", rules.sessionsPerUser, 0, 500);
  checkInteger("valueBytes", rules.valueBytes, 1, MOST_BYTES);
  checkInteger("sessionBytes", rules.sessionBytes, 1, MOST_BYTES);
  checkInteger("sessionEntries", rules.sessionEntries, 1, MOST_ENTRIES);
  if (!(rules.refreshThreshold > 0 && rules.refreshThreshold <= 1)) {
    throw new InvalidError("refreshThreshold", "must be above 0 and at most 1");
  }
  checkWord("idScheme", rules.idScheme, ["uuid", "token"]);
  checkWord("onLimit", rules.onLimit, ["reject", "evict"]);
  return rules;
}

/** Whether a refresh at a time has something to write, as the script decides it. */
export function isTouchDue({ touchInterval }, lastActive, expiresAt, now) {
  return Math.abs(now - lastActive) >= touchInterval || expiresAt - now <= touchInterval;
}

/** A misspelt option would else be left out in silence. */
export function checkNames(what, given, names) {
  const unknown = Object.keys(given).find((name) => !names.includes(name));
  if (unknown !== undefined) throw new InvalidError(what, `has no ${JSON.stringify(unknown)}`);
}

export function checkTtl(ttl) {
  return checkInteger("ttl", ttl, 1, LONGEST);
}

export function checkInteger(field, value, least, most) {
  if (!Number.isSafeInteger(value) || value < least || value > most) {
    throw new InvalidError(field, `is ${String(value)}, must be an integer from ${least} to ${most}`);
  }
  return value;
}

export function checkWord(field, value, words) {
  if (!words.includes(value)) throw new InvalidError(field, `must be one of ${words.join(", ")}`);
  return value;
}

/** All entries that a session is to hold, as a script takes them. */
export function checkedEntries(rules, attributes, extensions) {
  const list = [
    ...Array.from(attributes, ([key, json]) => ({ kind: "attribute", key, json })),
    ...Array.from(extensions, ([key, json]) => ({ kind: "extension", key, json })),
  ];
  const bytes = encoded(rules, list);
  if (bytes.length > rules.sessionBytes || list.length > rules.sessionEntries) {
    throw new TooLargeError({ bytes: bytes.length, entries: list.length });
  }
  return bytes;
}

/** Changes to what a session holds, as a script takes them; the script knows how large it gets. */
export function checkedChanges(rules, list) {
  checkInteger("changes", list.length, 0, rules.sessionEntries);
  return encoded(rules, list);
}

function encoded(rules, list) {
  for (const { key, json } of list) {
    if (!isText(key) || key === "" || Buffer.byteLength(key) > KEY_BYTES) {
      throw new InvalidError("attribute key", `must be text of 1 to ${KEY_BYTES} bytes`);
    }
    if (!isText(json) || Buffer.byteLength(json) > rules.valueBytes) {
      throw new InvalidError("attribute value", `of ${JSON.stringify(key)} must be at most ${rules.valueBytes} bytes`);
    }
  }
  return encodeEntries(list);
}
