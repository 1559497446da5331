import type { Entries, Value } from "./entries.js";
import type { Patched } from "./store.js";
import type { Id } from "./token.js";

export type Status = "active" | "suspended" | "migrating";

/**
 * A copy in hand: changes are local until `update` saves them, those that are made in place to a value that `get` gave, too.
 * Times are milliseconds, from the server's clock.
 */
export class Session {
  private constructor();
  /** A secret: whoever has it has the session. No log and no JSON shows it. */
  readonly id: string;
  user: string | null;
  connection: string | null;
  node: string | null;
  status: Status;
  ttlMs: number;
  readonly version: number;
  readonly createdAtMs: number;
  readonly lastActiveMs: number;
  readonly expiresAtMs: number;
  readonly deadlineMs: number | null;
  /** The application's data. */
  readonly attributes: Entries;
  /** The data of layers around the application. */
  readonly extensions: Entries;
  /** The same as of `attributes`. */
  get(key: string): any;
  json(key: string): string | undefined;
  set(key: string, value: Value): void;
  remove(key: string): boolean;
  /**
   * Makes a change in this copy too that `patch` made in the store, and tells whether it did: only in a copy of the version
   * before. Then an `update` of the copy does not conflict with its own patch.
   */
  apply(patched: Patched): boolean;
  /** What stands for it in JSON: no id and no data. */
  toJSON(): object;
}

/** What an operation acts on. With a session in hand a change takes one round trip, with its id or token at most two. */
export type SessionRef = Session | Id;
