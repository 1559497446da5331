/** The partitions of a namespace: in which of them a session lives, and their tags. */

import { InvalidError } from "./errors.js";
import { checkSessionId, shownId } from "./ids.js";
import { storedOf } from "./layout.js";
import { Token } from "./token.js";

/** How many there may be. */
export const MOST = 1024;
/** How many slots a cluster has. */
export const SLOTS = 16384;

/** CRC-16/XMODEM, by which a cluster finds the slot of a key. */
const CRC_TABLE = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8;
  for (let bit = 0; bit < 8; bit++) crc = (crc << 1) ^ (crc & 0x8000 ? 0x1021 : 0);
  return crc;
});

function crcOf(text) {
  let crc = 0;
  for (const byte of Buffer.from(storedOf(text))) crc = ((crc << 8) ^ CRC_TABLE[(crc >> 8) ^ byte]) & 0xffff;
  return crc;
}

/** The slot of a cluster in which all keys of a tag are. */
export function slotOf(tag) {
  return crcOf(tag.slice(1, -1)) % SLOTS;
}

/** What the keys of the partition begin with that there is in namespaces of all numbers. */
export function firstTag(namespace) {
  return `{${namespace}:0}`;
}

/**
 * Those of a namespace that has so many. A session lives in the partition of its id, and the id of a session with a user is in
 * the partition of that user.
 */
export class Partitions {
  constructor(namespace, count, events = 0, idScheme = "uuid") {
    this.namespace = namespace;
    this.count = count;
    /** How many events each keeps; 0: none are told. */
    this.events = events;
    /** How their ids are made. */
    this.idScheme = idScheme;
    /** What the keys of each begin with. */
    this.tags = tagsOf(namespace, count);
  }

  /** That of a session's id, or of a user. */
  of(text) {
    return this.count === 1 ? 0 : crcOf(text) % this.count;
  }

  /** The id that stands for a session, as a caller gave it. */
  idOf(field, given) {
    if (!(given instanceof Token)) return checkSessionId(field, given);
    if (this.idScheme === "token") return given.id;
    throw new InvalidError(field, "is a token, in a namespace whose ids are none of tokens");
  }

  /** An id for a new session of a user, or of nobody, or the token of one: the same when the call is repeated. */
  newId(operationId, user) {
    if (user !== "") return this.newIdIn(this.of(user), operationId);
    return this.idScheme === "token" ? operationId.tokens().next().value : operationId.sessionId();
  }

  /** The same in a partition. */
  newIdIn(partition, operationId) {
    if (this.idScheme === "token") {
      for (const token of operationId.tokens()) if (this.of(token.id) === partition) return token;
    }
    if (this.count === 1) return operationId.sessionId();
    for (const id of operationId.draws()) if (this.of(id) === partition) return id;
    throw new TypeError("there is no end of draws");
  }

  /** Refuses an id for a session of a user who is in another partition. */
  check(field, id, user) {
    if (user === "" || this.of(id) === this.of(user)) return;
    throw this.#misfit(field, id, `its user ${JSON.stringify(user)} is in partition ${this.of(user)}`);
  }

  /** The same for the new id of a session that stays in its partition. */
  checkIn(field, partition, id) {
    if (this.of(id) !== partition) throw this.#misfit(field, id, `the session is in partition ${partition}`);
  }

  #misfit(field, id, other) {
    return new InvalidError(field, `${shownId(id)} is in partition ${this.of(id)} of ${this.count}, and ${other}`);
  }
}

/**
 * The slots of a cluster are cut into as many slices, and the tag of a partition is the first whose slot lies in its slice.
 */
function tagsOf(namespace, count) {
  if (count === 1) return [firstTag(namespace)];
  const tags = Array(count);
  for (let found = 0, number = 0; found < count; number++) {
    const tag = `{${namespace}:${number}}`;
    const slice = Math.floor((slotOf(tag) * count) / SLOTS);
    if (tags[slice] !== undefined) continue;
    tags[slice] = tag;
    found++;
  }
  return tags;
}
