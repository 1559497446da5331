import type { Entries, Value } from "./entries.js";
import type { Id } from "./token.js";

export type Status = "active" | "suspended" | "migrating";

/** A copy in hand: changes are local until `update` saves them. Times are milliseconds, from the server's clock. */
export class Session {
  private constructor();
  /** A secret: whoever has it has the session. */
  readonly id: string;
  user: string | null;
  connection: string | null;
  node: string | null;
  status: Status;
  ttl: number;
  readonly version: number;
  readonly createdAt: number;
  readonly lastActive: number;
  readonly expiresAt: number;
  readonly deadline: number | null;
  /** The application's data. */
  readonly attributes: Entries;
  /** The data of layers around the application. */
  readonly extensions: Entries;
  /** The same as of `attributes`. */
  get(key: string): any;
  json(key: string): string | undefined;
  set(key: string, value: Value): void;
  remove(key: string): boolean;
}

/** What an operation acts on. With a session in hand a change takes one round trip, with its id or token at most two. */
export type SessionRef = Session | Id;
