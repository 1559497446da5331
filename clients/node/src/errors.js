import { inspect } from "node:util";
import { quiet } from "./server-errors.js";

/** The base class of all errors that this client throws. */
export class CloakroomError extends Error {
  constructor(message, cause) {
    super(message, cause === undefined ? undefined : { cause: quiet(cause) });
    this.name = new.target.name;
  }

  /** Getters have session ids, which are secrets: they are not printed, even if the caller of `inspect` asks for getters. */
  [inspect.custom](depth, options) {
    return inspect(this, { ...options, getters: false, customInspect: false });
  }
}

/** Bad input or configuration. Nothing was sent. */
export class InvalidError extends CloakroomError {
  constructor(field, reason) {
    super(`${field} ${reason}`);
    this.field = field;
  }
}

/** The operation was not executed. Retry freely. `reason` is connection, deadline, server, contended, busy or closed. */
export class NotExecutedError extends CloakroomError {
  constructor(reason, cause) {
    super(`not executed: ${reason}`, cause);
    this.reason = reason;
  }
}

/** The sessions or indexes of the operation kept changing during it. */
export class ContendedError extends NotExecutedError {
  constructor() {
    super("contended");
  }
}

/**
 * The operation may have happened: it was sent and no reply proves the outcome, or the server stopped its script at a
 * command, perhaps after some writes. `Cloakroom.withOperationId` repeats it safely.
 */
export class AmbiguousError extends CloakroomError {
  constructor(operationId, cause, why = "sent, but no reply") {
    super(`${why}: it may have happened`, cause);
    this.operationId = operationId;
  }
}

/**
 * The value under one of our keys is not ours, or is broken. Nothing was changed. `of` is the owner of the key if the
 * call declared several of the kind.
 */
export class CorruptError extends CloakroomError {
  constructor(what, of) {
    super(of === undefined ? `corrupt ${what}` : `corrupt ${what} of ${JSON.stringify(of)}`);
    this.what = what;
    this.of = of;
  }
}

/** The engine refused the operation. Nothing was changed. */
export class RefusedError extends CloakroomError {
  constructor(word, message) {
    super(`refused: ${message}`);
    this.word = word;
  }
}

export class MissingError extends RefusedError {
  constructor() {
    super("missing", "no live session with this id");
  }
}

export class ExistsError extends RefusedError {
  constructor() {
    super("exists", "a live session has this id already");
  }
}

export class GoneError extends RefusedError {
  constructor() {
    super("gone", "the session with this id was deleted a moment ago");
  }
}

export class FrozenError extends RefusedError {
  constructor() {
    super("frozen", "the session is being migrated");
  }
}

export class ConflictError extends RefusedError {
  constructor({ version }) {
    super("conflict", `the session was changed and is at version ${version}`);
    this.version = version;
  }
}

/**
 * The session has a newer id, and its client has that id or will have it in a moment: answer without touching the
 * cookie. The new id is a secret, so it is not a property that a log would print. It is null after a login, because an
 * attacker who planted the old id would be logged in too.
 */
export class MovedError extends RefusedError {
  #newId;

  constructor({ new_id: newId = null }) {
    super("moved", "the session has a newer id");
    this.#newId = newId;
  }

  get newId() {
    return this.#newId;
  }
}

/** A migration moved the session to another store. It is there, or will be as soon as the migration is finished. */
export class DepartedError extends RefusedError {
  constructor({ place }) {
    super("departed", `the session has departed to ${JSON.stringify(place)}`);
    this.place = place;
  }
}

export class TakenError extends RefusedError {
  #holderId;

  constructor({ holder_id: holderId }) {
    super("taken", "the connection belongs to another session");
    this.#holderId = holderId;
  }

  get holderId() {
    return this.#holderId;
  }
}

/** The node holds its lease: another process uses its name, or the node is not dead. */
export class LeasedError extends RefusedError {
  constructor({ deadline }) {
    super("leased", "the node holds its lease");
    this.untilMs = deadline;
  }
}

/**
 * The node no longer holds its lease, or the session is another node's: it must stop writing to the session. With
 * several partitions, a heartbeat lists in `partitions` those where the lease is lost.
 */
export class FencedError extends RefusedError {
  constructor({ partitions = [] } = {}) {
    super("fenced", "the node no longer holds its lease, or the session is another node's");
    this.partitions = partitions;
  }
}

/** The user has as many sessions as allowed. */
export class LimitError extends RefusedError {
  constructor({ live }) {
    super("limit", `the user has ${live} sessions already`);
    this.live = live;
  }
}

/** The session's attributes and extensions would take more bytes than allowed, or would be too many. */
export class TooLargeError extends RefusedError {
  constructor({ bytes, entries }) {
    super("large", `the session's ${entries} entries would take ${bytes} bytes`);
    this.bytes = bytes;
    this.entries = entries;
  }
}

/** The clients in this namespace use a contract number of the scripts that this client does not accept. */
export class ContractError extends RefusedError {
  constructor(found, known) {
    super("contract", `the namespace is at contract ${found}, this client knows contract ${known}`);
    this.found = found;
    this.known = known;
  }
}

/** The namespace has another number of partitions than the caller says: it is fixed when the namespace is made. */
export class PartitionsError extends RefusedError {
  constructor(found, wanted) {
    super("partitions", `the namespace has ${found} partitions, not ${wanted}`);
    this.found = found;
    this.wanted = wanted;
  }
}

/** The namespace has ids of another scheme than the rules say: that is fixed when it is made. */
export class IdSchemeError extends RefusedError {
  constructor(found, wanted) {
    super("scheme", `the namespace has ids of the scheme ${found}, not ${wanted}: that is fixed when it is made`);
    this.found = found;
    this.wanted = wanted;
  }
}

/**
 * The server's ACL forbids the user something that a store needs, so it does not start. `lacking` has that in the words of
 * an ACL, such as `+del`.
 */
export class ForbiddenError extends RefusedError {
  constructor(lacking) {
    super("forbidden", `the server's ACL forbids what a store needs: its user lacks ${lacking.join(" ")}`);
    this.lacking = lacking;
  }
}
