import { inspect } from "node:util";
import { Entries } from "./entries.js";
import { CorruptError } from "./errors.js";
import { shortHash } from "./ids.js";
import { decodeRecord, statusOf } from "./record.js";

/**
 * One session, as it was when it was read: a copy in hand. Changes to it are local until `Cloakroom.update` saves them.
 * Times are milliseconds since the epoch, from the server's clock.
 */
export class Session {
  /** Its user, connection and node as they are stored: what a call tells the script. */
  #stored;

  constructor(id, record) {
    this.id = id;
    for (const name of ["user", "connection", "node"]) this[name] = record[name] || null;
    this.status = statusOf(record);
    this.version = record.version;
    this.ttl = record.ttl;
    this.createdAt = record.created_at;
    this.lastActive = record.last_active;
    this.expiresAt = record.expires_at;
    this.deadline = record.deadline || null;
    const of = (wanted) => record.entries.filter(({ kind }) => kind === wanted).map(({ key, json }) => [key, json]);
    this.attributes = new Entries(of("attribute"));
    this.extensions = new Entries(of("extension"));
    this.#stored = { user: record.user, connection: record.connection, node: record.node };
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

  /** What a call that acts on a session in hand, or on a bare id, knows to declare. */
  static declared(target) {
    return target instanceof Session ? { id: target.id, ...target.#stored } : { id: target };
  }

  /** Notes that this copy was saved. */
  static saved(session, id, { version, last_active: lastActive, expires_at: expiresAt }, routing) {
    Object.assign(session, { id, version, lastActive, expiresAt });
    session.#stored = routing;
  }

  /** The id is a secret, and so may be the data. */
  [inspect.custom](depth, options) {
    const { id, attributes, extensions, ...rest } = this;
    const shown = { id: `#${shortHash(id)}`, ...rest, attributes: attributes.size, extensions: extensions.size };
    return `Session ${inspect(shown, options)}`;
  }
}

/** The session that a record holds. */
export function sessionOf(id, bytes) {
  const record = decodeRecord(bytes);
  if (record?.kind !== "live") throw new CorruptError("record");
  return new Session(id, record);
}
