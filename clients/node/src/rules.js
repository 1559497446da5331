import { InvalidError, TooLargeError } from "./errors.js";
import { checkKey, encodeEntries } from "./entries.js";
import { checkInteger, checkIntegerIfGiven, checkOptions, checkWord, toldOf } from "./input.js";

/** Ten years, in milliseconds. */
export const LONGEST = 10 * 365 * 24 * 3600 * 1000;
/** What a session's entries, and so a value, may take at most: their lengths take three bytes, as the scripts have it. */
const MOST_BYTES = 15 * 1024 * 1024;
const MOST_ENTRIES = 1_000_000;
const MOST_SESSIONS = 500;
/** The touch interval of an idle timeout, unless that is more than one in so many parts of it. */
const REQUEST_TOUCH_INTERVAL = 60_000;
const TOUCHES_PER_TTL = 20;

const DEFAULTS = {
  idScheme: "uuid",
  ttlMs: 30 * 60_000,
  maxLifetimeMs: undefined,
  refreshThreshold: 0.5,
  touchIntervalMs: 0,
  graceMs: 3_600_000,
  rotationGraceMs: 30_000,
  tombstoneMs: 30_000,
  sessionsPerUser: undefined,
  onLimit: "reject",
  valueBytes: 256 * 1024,
  sessionBytes: 256 * 1024,
  sessionEntries: 1024,
};

/** What holds for all sessions of a store, checked. */
export function rulesOf(given = {}) {
  checkOptions("rules", given, [...Object.keys(DEFAULTS), "idleTimeoutMs"]);
  const { idleTimeoutMs, ...others } = given;
  const rules = { ...DEFAULTS, ...defined(others), ...timesOf(idleTimeoutMs, others) };
  checkTtl(rules.ttlMs);
  checkIntegerIfGiven("maxLifetimeMs", rules.maxLifetimeMs, 1, LONGEST);
  checkInteger("touchIntervalMs", rules.touchIntervalMs, 0, rules.ttlMs);
  checkInteger("graceMs", rules.graceMs, 1000, LONGEST);
  checkInteger("rotationGraceMs", rules.rotationGraceMs, 1, LONGEST);
  checkInteger("tombstoneMs", rules.tombstoneMs, 1, LONGEST);
  checkIntegerIfGiven("sessionsPerUser", rules.sessionsPerUser, 1, MOST_SESSIONS);
  checkInteger("valueBytes", rules.valueBytes, 1, MOST_BYTES);
  checkInteger("sessionBytes", rules.sessionBytes, 1, MOST_BYTES);
  checkInteger("sessionEntries", rules.sessionEntries, 1, MOST_ENTRIES);
  checkThreshold(rules.refreshThreshold);
  checkWord("idScheme", rules.idScheme, ["uuid", "token"]);
  checkWord("onLimit", rules.onLimit, ["reject", "evictOldest"]);
  return rules;
}

const POLICIES = { reject: "reject", evictOldest: "evict" };

/**
 * What every call passes of the rules, by the names of the scripts' arguments; but not the ttl, whose absence can mean that it
 * stays as it is, nor the scheme of ids, of which no script knows.
 */
export function argumentsOf(rules) {
  return {
    lifetime_ms: rules.maxLifetimeMs ?? 0,
    // There are no fractions in their arguments.
    threshold: Math.ceil(rules.refreshThreshold * 1000),
    touch_ms: rules.touchIntervalMs,
    grace_ms: rules.graceMs,
    rotation_grace_ms: rules.rotationGraceMs,
    tombstone_ms: rules.tombstoneMs,
    limit: rules.sessionsPerUser ?? 0,
    policy: POLICIES[rules.onLimit],
    entries_bytes: rules.sessionBytes,
    entries_most: rules.sessionEntries,
  };
}

/** What is given as undefined is not given. */
function defined(values) {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}

/** What an idle timeout is made of: a use extends the session each time, and is written once in a while. */
function timesOf(idleTimeoutMs, others) {
  if (idleTimeoutMs === undefined) return {};
  checkInteger("idleTimeoutMs", idleTimeoutMs, 1, LONGEST);
  const beside = ["ttlMs", "refreshThreshold", "touchIntervalMs"].find((name) => others[name] !== undefined);
  if (beside) throw new InvalidError("idleTimeoutMs", `sets ${beside}, which is given too`);
  const touchIntervalMs = Math.min(REQUEST_TOUCH_INTERVAL, Math.floor(idleTimeoutMs / TOUCHES_PER_TTL));
  return { ttlMs: idleTimeoutMs, refreshThreshold: 1, touchIntervalMs };
}

function checkThreshold(threshold) {
  if (typeof threshold !== "number" || !(threshold > 0 && threshold <= 1)) {
    throw new InvalidError("refreshThreshold", `is ${toldOf(threshold)}, must be a number above 0 and at most 1`);
  }
}

/** Whether a refresh at a time has something to write, as the script decides it. */
export function isTouchDue({ touchIntervalMs }, lastActiveMs, expiresAtMs, now) {
  return Math.abs(now - lastActiveMs) >= touchIntervalMs || expiresAtMs - now <= touchIntervalMs;
}

export function checkTtl(ttlMs) {
  return checkInteger("ttlMs", ttlMs, 1, LONGEST);
}

export function checkLifetime(lifetimeMs) {
  return checkInteger("lifetimeMs", lifetimeMs, 1, LONGEST);
}

/** All entries that a session is to hold, as a script takes them. */
export function checkedEntries(rules, attributes, extensions) {
  const list = [
    ...Array.from(attributes, ([key, json]) => ({ kind: "attribute", key, json })),
    ...Array.from(extensions, ([key, json]) => ({ kind: "extension", key, json })),
  ];
  const fields = { attribute: "attributes", extension: "extensions" };
  const bytes = encoded(rules, list, fields);
  if (bytes.length > rules.sessionBytes || list.length > rules.sessionEntries) {
    throw new TooLargeError({ bytes: bytes.length, entries: list.length });
  }
  return bytes;
}

/** Changes to what a session holds, as a script takes them; the script knows how large it gets. */
export function checkedChanges(rules, list) {
  if (list.length > rules.sessionEntries) {
    throw new InvalidError("set", `makes, with what else is set or removed, more than ${rules.sessionEntries} changes`);
  }
  return encoded(rules, list, { attribute: "set", extension: "setExtensions" });
}

function encoded(rules, list, fields) {
  for (const { kind, key, json } of list) {
    checkKey(fields[kind], key);
    if (Buffer.byteLength(json) > rules.valueBytes) {
      const most = `must be at most ${rules.valueBytes} bytes of JSON`;
      throw new InvalidError(fields[kind], `has under ${JSON.stringify(key)} a value that ${most}`);
    }
  }
  return encodeEntries(list);
}
