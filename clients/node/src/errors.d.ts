import type { OperationId } from "./ids.js";

export class CloakroomError extends Error {}

/** Bad input or configuration. Nothing was sent. */
export class InvalidError extends CloakroomError {
  /** The argument or property that is bad, by its name here. */
  readonly field: string;
}

/** Retry freely. */
export class NotExecutedError extends CloakroomError {
  readonly reason: "connection" | "deadline" | "server" | "contended" | "busy" | "closed";
}

/** The sessions or indexes of the operation kept changing during it. */
export class ContendedError extends NotExecutedError {}

/**
 * The operation may have happened: it was sent and no reply proves the outcome, or the server stopped its script at a
 * command, perhaps after some writes. `Cloakroom.withOperationId` repeats it safely.
 */
export class AmbiguousError extends CloakroomError {
  readonly operationId: OperationId;
}

/** The value under one of our keys is not ours, or is broken. Nothing was changed. */
export class CorruptError extends CloakroomError {
  readonly what: string;
  /** The owner of the key, if the call declared several of the kind. */
  readonly of?: string;
}

/** Nothing was changed. */
export class RefusedError extends CloakroomError {
  readonly word: string;
}
export class MissingError extends RefusedError {}
export class ExistsError extends RefusedError {}
export class GoneError extends RefusedError {}
export class FrozenError extends RefusedError {}
export class ConflictError extends RefusedError {
  readonly version: number;
}
/** The session has a newer id, and its client has that id or will have it in a moment: answer without touching the cookie. */
export class MovedError extends RefusedError {
  /** Null after a login, because an attacker who planted the old id would be logged in too. */
  readonly newId: string | null;
}
export class DepartedError extends RefusedError {
  readonly place: string;
}
export class TakenError extends RefusedError {
  readonly holderId: string;
}
/** The node holds its lease: another process has its name, or it is not dead. */
export class LeasedError extends RefusedError {
  readonly untilMs: number;
}
/** The node no longer holds its lease, or the session is another node's: it must not write to it any more. */
export class FencedError extends RefusedError {
  /** Of a heartbeat where there are several partitions: those where the lease is lost. */
  readonly partitions: readonly number[];
}
export class LimitError extends RefusedError {
  readonly live: number;
}
export class TooLargeError extends RefusedError {
  readonly bytes: number;
  readonly entries: number;
}
export class ContractError extends RefusedError {
  readonly found: number;
  readonly known: number;
}
/** The namespace has another number of partitions than the options say: it is fixed when the namespace is made. */
export class PartitionsError extends RefusedError {
  readonly found: number;
  readonly wanted: number;
}
/** The namespace has ids of another scheme than the rules say: that is fixed when it is made. */
export class IdSchemeError extends RefusedError {
  readonly found: "uuid" | "token";
  readonly wanted: "uuid" | "token";
}
/** The server's ACL forbids the user something that a store needs, so it does not start. */
export class ForbiddenError extends RefusedError {
  readonly lacking: readonly string[];
}
