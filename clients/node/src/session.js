import { inspect } from "node:util";
import { Patched } from "./answers.js";
import { Entries } from "./entries.js";
import { CorruptError } from "./errors.js";
import { shownId } from "./ids.js";
import { checkInstance } from "./input.js";
import { decodeRecord, statusOf } from "./record.js";

/**
 * One session, as it was when it was read: a copy in hand. Changes to it are local until `Cloakroom.update` saves them, those
 * that are made in place to a value that `get` gave, too. Times are milliseconds since the epoch, from the server's clock.
 */
export class Session {
  #id;
  /** Its user, connection and node as they are stored: what a call tells the script. */
  #stored;

  constructor(id, record) {
    this.#id = id;
    for (const name of ["user", "connection", "node"]) this[name] = record[name] || null;
    this.status = statusOf(record);
    this.version = record.version;
    this.ttlMs = record.ttl;
    this.createdAtMs = record.created_at;
    this.lastActiveMs = record.last_active;
    this.expiresAtMs = record.expires_at;
    this.deadlineMs = record.deadline || null;
    const of = (wanted) => record.entries.filter(({ kind }) => kind === wanted).map(({ key, json }) => [key, json]);
    this.attributes = new Entries(of("attribute"), "attributes");
    this.extensions = new Entries(of("extension"), "extensions");
    this.#stored = { user: record.user, connection: record.connection, node: record.node };
  }

  get id() {
    return this.#id;
  }

  /** The attribute of a key; undefined where there is none. Numbers beyond 2^53 lose digits here, not in `json`. */
  get(key) {
    return this.attributes.get(key);
  }

  /** The attribute of a key as JSON text. */
  json(key) {
    return this.attributes.json(key);
  }

  /** Sets an attribute in this copy. */
  set(key, value) {
    this.attributes.set(key, value);
  }

  /** Removes an attribute from this copy, and tells whether it was there. */
  remove(key) {
    return this.attributes.delete(key);
  }

  /**
   * Makes a change in this copy too that `Cloakroom.patch` made in the store, and tells whether it did: only in a copy of that
   * session at the version before, for in any other there is something else.
   */
  apply(patched) {
    checkInstance("patched", patched, Patched);
    const { id, version, changed, lastActiveMs, expiresAtMs } = patched;
    if (this.#id !== id || this.version !== version - Number(changed)) return false;
    const { list, status, ttlMs, lifetimeMs } = Patched.changes(patched);
    const of = (wanted) => list.filter(({ kind }) => kind === wanted);
    Entries.change(this.attributes, of("attribute"));
    Entries.change(this.extensions, of("extension"));
    this.status = status ?? this.status;
    this.ttlMs = ttlMs ?? this.ttlMs;
    if (lifetimeMs !== undefined) this.deadlineMs = lastActiveMs + lifetimeMs;
    Object.assign(this, { version, lastActiveMs, expiresAtMs });
    return true;
  }

  /** What a call that acts on a session in hand, or on a bare id, knows to declare. */
  static declared(target) {
    return target instanceof Session ? { id: target.#id, ...target.#stored } : { id: target };
  }

  /** Notes that this copy was saved. */
  static saved(session, id, { version, last_active: lastActiveMs, expires_at: expiresAtMs }, routing) {
    session.#id = id;
    Object.assign(session, { version, lastActiveMs, expiresAtMs });
    session.#stored = routing;
  }

  /** The id is a secret, and so may be the data. */
  toJSON() {
    const { attributes, extensions, ...rest } = this;
    return { id: shownId(this.#id), ...rest, attributes: attributes.size, extensions: extensions.size };
  }

  [inspect.custom](depth, options) {
    return `Session ${inspect(this.toJSON(), options)}`;
  }
}

/** The session that a record holds. */
export function sessionOf(id, bytes) {
  const record = decodeRecord(bytes);
  if (record?.kind !== "live") throw new CorruptError("record");
  return new Session(id, record);
}
