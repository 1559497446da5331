import type { Cursor } from "./cursor.js";
import type { Value, Values } from "./entries.js";
import type { CloakroomError } from "./errors.js";
import type { Events } from "./events.js";
import type { NodeIdentity, OperationId } from "./ids.js";
import type { Options, Redis } from "./rules.js";
import type { Session, SessionRef } from "./session.js";
import type { Id, Token } from "./token.js";

export interface NewSession {
  /** Defaults to one that is made. */
  id?: Id;
  user?: string | null;
  connection?: string | null;
  node?: string | null;
  status?: "active" | "suspended";
  ttlMs?: number;
  /** How long it lives at most, however much it is used. Defaults to the rule `maxLifetimeMs`. */
  lifetimeMs?: number;
  attributes?: Values;
  extensions?: Values;
}

/** A session that was deleted, and the connection to close. */
export interface Removed {
  readonly id: string;
  user: string | null;
  connection: string | null;
  node: string | null;
}

export interface Created {
  session: Session;
  /** What the client is to hold, told here alone; null: the id itself. */
  token: Token | null;
  /** Deleted to stay within the limit. */
  evicted: Removed[];
  /** Expired, and in the way: no reaper will report them. */
  reaped: Session[];
}

/** What it does not name stays. A key that is both set and removed is set. */
export interface Changes {
  set?: Map<string, Value> | Record<string, Value>;
  remove?: string[];
  setExtensions?: Map<string, Value> | Record<string, Value>;
  removeExtensions?: string[];
}

export interface Patch extends Changes {
  status?: "active" | "suspended";
  /** A new idle time, which begins anew. */
  ttlMs?: number;
  /** How long it lives at most from now on; its idle time begins anew. Defaults to the deadline that it has. */
  lifetimeMs?: number;
  /** Changes only a session at this version. */
  version?: number;
}

/** What a patch came to. `Session.apply` brings a copy in hand up to date. */
export interface Patched {
  /** A new one if the session was rotated. */
  readonly id: string;
  version: number;
  /** When it was last used: a patch is a use. */
  lastActiveMs: number;
  expiresAtMs: number;
  /**
   * False: the patch named no attribute, no extension and no lifetime, status and ttl are what they were, and nothing was
   * written. One that sets a value to what it is counts as a change.
   */
  changed: boolean;
}

export interface Refreshed {
  /** A new one if the session was rotated. */
  readonly id: string;
  version: number;
  lastActiveMs: number;
  expiresAtMs: number;
  /** False: it was used within the touch interval, and nothing was written. */
  changed: boolean;
}

/** What a rotation does besides giving a new id, in the same step. */
export interface Rotation extends Changes {
  /** Defaults to one that is made. */
  newId?: Id;
  /** Makes the session this user's: a login. Defaults to the user that it has. */
  user?: string | null;
  /** Makes it nobody's: a logout that keeps what is in it, such as a cart. */
  anonymous?: boolean;
  /** Another idle time. */
  ttlMs?: number;
  /**
   * How long it lives at most from now on: "remember me". Defaults to the rule `maxLifetimeMs` from a login or a logout on, and
   * else to the deadline that it has.
   */
  lifetimeMs?: number;
  /** Keeps the deadline at a login and a logout too. */
  keepDeadline?: boolean;
}

export interface Rotated {
  session: Session;
  /** What the client is to hold, told here alone; null: the id itself, or another rotation was first: its caller has it. */
  token: Token | null;
  evicted: Removed[];
  /** Another rotation was first, and the new id is the one it made. */
  byAnother: boolean;
}

export interface Bound {
  readonly id: string;
  version: number;
  /** Close it, if it is another. */
  previousConnection: string | null;
  previousNode: string | null;
  /** The session that lost the connection to this one. */
  readonly takenFrom: string | null;
  reaped: Session[];
  changed: boolean;
}

export interface Exported {
  session: Session;
  /** The ids of its last four changes. */
  operations: Buffer;
}

/** By which migration a session comes: from a place where it is frozen until then, as `freeze` told. */
export interface Incoming {
  task: Buffer;
  untilMs: number;
  place: string;
  /** Hands it over to a node here: without its connection, suspended, and at one version more. */
  node?: string | null;
}

/** A session that is on its way, as one of the two stores has it. */
export interface Migration {
  readonly id: string;
  task: Buffer;
  /** The other store. */
  place: string;
  /** The node that an outgoing one goes to there; null: it keeps its own. */
  node: string | null;
  /**
   * Outgoing: it is frozen here. Incoming: a frozen copy is here, and becomes the session when that departs. Departed: it
   * has gone to the other store, where the copy may be frozen still. Deleted: the copy here was.
   */
  phase: "outgoing" | "incoming" | "departed" | "deleted";
  /** When the freeze at its source is over, by the clock there; null: there is none. */
  untilMs: number | null;
}

export type Selector = { user: string } | { node: string };

/** What became of an id, as far as the store remembers. It names no other id. */
export type Explanation =
  | { word: "live" | "deleted" | "unknown" }
  | { word: "expired"; atMs: number }
  /** `byLogin`: the user changed with it, by a login or by a logout that kept the session. */
  | { word: "rotated"; byLogin: boolean }
  | { word: "departed"; place: string };

export interface Reaped {
  sessions: Session[];
  /** Entries of the expiry index that led to no session. */
  dropped: number;
  /**
   * What cannot be removed, because something under its keys is corrupt. What was under its record's key is set aside for a
   * week, under `{ns:p}:aside:<id>`.
   */
  readonly corrupt: string[];
  /** Whether there may be more: the sessions of one reap take 2 MiB at most, but for one that is larger by itself. */
  more: boolean;
  /** How many more were removed, or are corrupt, that cannot be told: an id or something in the session is no text. */
  unreadable: number;
}

/** A node that holds a lease, or held one lately. */
export interface Node {
  name: string;
  leaseUntilMs: number;
  isLive: boolean;
  /** How many live sessions it has. */
  sessions: number;
}

/** What a claim came to. */
export interface Claimed {
  /** Taken by this call, and reported by no other; with the connections that they had. */
  sessions: { readonly id: string; version: number; user: string | null; connection: string | null }[];
  /** Those that stay: being migrated, corrupt, or changing all the time. */
  readonly frozen: string[];
  readonly corrupt: string[];
  readonly stale: string[];
  /** How many more were met whose ids are no text; those that were sound were taken. */
  unreadable: number;
  /** Where to go on; null: the node's sessions are through. */
  next: Cursor | null;
}

/**
 * A store of sessions. Each operation may throw `NotExecutedError`, `CorruptError` and `InvalidError`, one that writes
 * also `AmbiguousError`; the refusals stand with each.
 */
export class Cloakroom {
  private constructor();

  /**
   * Throws `ContractError` where a contract is noted that it does not go with, `PartitionsError` where the namespace has another
   * number of partitions than the options say, and `IdSchemeError` where its ids are made by another scheme.
   */
  static connect(redis: Redis, options?: Options): Promise<Cloakroom>;

  /**
   * The same store, with each call under this operation id: to repeat one that threw `AmbiguousError`, as it was. It throws
   * that again where what is stored does not tell whether it has happened.
   */
  withOperationId(id: OperationId): Cloakroom;

  /** An id for a new session of a user, or the token of one: in the partition of that user, as the store makes them. */
  newId(user?: string | null): Id;

  /** Makes a session. Refused: Exists, Gone, Moved, Taken, Limit, TooLarge. */
  create(session?: NewSession): Promise<Created>;

  /**
   * Makes any number of sessions, 100 at one instant; of each, in order, what `create` would return, or the error that it
   * would throw. Where users have a limit of sessions, theirs are made one after the other.
   */
  createMany(sessions: readonly NewSession[]): Promise<(Created | CloakroomError)[]>;

  /** Reads a live session, also by an id that was rotated away a moment ago. */
  get(id: Id): Promise<Session | null>;

  /** Of each, in order, what `get` would return, or the error that it would throw. */
  getMany(ids: readonly Id[]): Promise<(Session | null | CloakroomError)[]>;

  /** Saves a session, if nobody changed it since it was read. Refused: Missing, Conflict, Taken, TooLarge, Frozen. */
  update(session: Session): Promise<void>;

  /** Changes single attributes and extensions, status, ttl or lifetime. Refused: Missing, Conflict, TooLarge, Frozen. */
  patch(id: SessionRef, changes: Patch): Promise<Patched>;

  /** Notes that a live session is used, and extends it when enough of its idle time is gone. Refused: Frozen. */
  refresh(id: SessionRef): Promise<Refreshed | null>;

  /** The same for many: of each, in order, what it comes to. */
  refreshMany(sessions: readonly SessionRef[]): Promise<(Refreshed | null | CloakroomError)[]>;

  /** The same, and returns the session: what a web request begins with. */
  refreshAndGet(id: SessionRef): Promise<Session | null>;

  /**
   * Gives a session a new id, and its user: what a login does, and a logout that keeps the session. Refused: Missing, Exists,
   * Limit, TooLarge, Frozen.
   */
  rotate(id: SessionRef, rotation?: Rotation): Promise<Rotated>;

  /** Attaches a connection, and the node that holds it. Refused: Missing, Taken unless it takes over, Frozen. */
  bind(id: SessionRef, binding: { connection: string; node?: string | null; takeOver?: boolean }): Promise<Bound>;

  /** Detaches a connection, only if the session still has it. Refused: Frozen. */
  unbind(id: SessionRef, connection: string): Promise<"detached" | "notBound" | "missing">;

  /** Deletes a live session, and returns what it had: the connection to close. Null: there was none. */
  delete(id: SessionRef): Promise<Removed | null>;

  /** The same for many: of each, in order, what it comes to. */
  deleteMany(sessions: readonly SessionRef[]): Promise<(Removed | null | CloakroomError)[]>;

  /** Reads a live session whole, to be imported into another namespace or server. */
  export(id: Id): Promise<Exported | null>;

  /**
   * Brings in an exported session: in the place of an older version of it, of nothing, or of just one version. One that is
   * incoming comes by a migration, in the place of nothing: a copy that is frozen until it is thawed.
   * Refused: Conflict, Gone, Moved, Departed, Taken, TooLarge, Frozen.
   */
  import(
    exported: Exported,
    options?:
      | { replaces?: "older" | "nothing" | number; incoming?: undefined }
      | { replaces?: "nothing"; incoming: Incoming },
  ): Promise<"imported" | "unchanged" | "missing">;

  /** The live session that has a connection. */
  sessionByConnection(connection: string): Promise<Session | null>;

  /** What became of an id: for support, and for a page that tells a user why to log in again. */
  explain(id: Id): Promise<Explanation>;

  /**
   * A page of live sessions, oldest first, as they all were at one instant; several pages are several. The size is 1 to 500
   * and defaults to 100; a page ends earlier where its records would be larger than 2 MiB, or where it kept changing. `next`
   * is null after the last.
   */
  list(of: Selector, page?: { size?: number; after?: Cursor | string }): Promise<{ sessions: Session[]; next: Cursor | null }>;

  /** How many live sessions a user or node has. */
  count(of: Selector): Promise<number>;

  /** Deletes all sessions that a user has, or all but one. `unreadable` more were removed, or are corrupt, by ids that are no text. */
  deleteUser(
    user: string,
    options?: { keep?: Id },
  ): Promise<{ removed: Removed[]; readonly corrupt: string[]; unreadable: number }>;

  /** Which sessions expired, oldest first; at most 1,000, 100 unless told. `beforeMs` defaults to now. */
  expired(page?: { beforeMs?: number; skip?: number; limit?: number }): Promise<{ readonly id: string; expiredAtMs: number }[]>;

  /** Removes a batch of expired sessions, 1 to 200, and returns them. After `AmbiguousError` their list is lost. */
  reap(batch?: number): Promise<Reaped>;

  /**
   * The same store for a node that writes as the owner of its sessions, while it holds its lease. A write that comes
   * later is refused: Fenced. `create` and `bind` put sessions at that node and nowhere else.
   */
  asNode(identity: NodeIdentity): Cloakroom;

  /**
   * Registers a node under a lease, renews that (unless told) or releases it; returns until when it is held. Renew it in
   * a third of its length, 15 seconds unless told. By the node's own clock it is over when its length has passed since
   * before the last renewal was sent: stop writing, and register with a new `NodeIdentity`. Refused: Leased when another lease
   * of the node is held, Fenced when this one is lost.
   *
   * Of several partitions each has a lease, which end together. A `FencedError` names those where it is lost: stop writing to
   * the sessions there, and register again, with the same identity. That takes a new lease in those, and renews the others.
   */
  heartbeat(
    identity: NodeIdentity,
    beat?: { want?: "register" | "renew" | "release"; leaseMs?: number; keepMs?: number },
  ): Promise<number>;

  /** The nodes that hold a lease, or held one lately, by name. */
  nodes(): Promise<Node[]>;

  /** The names of the nodes whose leases have run out, to be recovered. */
  lapsedNodes(): Promise<string[]>;

  /**
   * Gives a batch of a node's sessions, 1 to 200, to another node that holds its lease: of one whose lease has run out,
   * or whichever it has, if `evenIfLeased`: a node that is drained. Each loses its connection, and is suspended with time left to reconnect, a minute unless told.
   * Refused: Leased when the node holds its lease, Fenced when the other does not.
   */
  recover(
    node: string,
    to: string,
    claim?: { batch?: number; reconnectMs?: number; evenIfLeased?: boolean; after?: Cursor | string },
  ): Promise<Claimed>;

  /**
   * Freezes a live session that is to go over to another store, which is the place: from now on it is read and deleted, and
   * not changed. After the span, 30 seconds unless told and an hour at most, that ends by itself, unless it departed. With a
   * node it is noted that it goes to that one there, for whoever goes on: it belongs in what is incoming. This and the next
   * three are the steps of a migration, with an incoming `import` behind it. Each may be sent again, by anybody who knows the
   * task: eight random bytes that the caller keeps, the same for all of them.
   * Refused: Frozen when another task moves it, Departed.
   */
  freeze(
    id: SessionRef,
    task: Buffer,
    place: string,
    options?: { node?: string; spanMs?: number },
  ): Promise<{ exported: Exported; untilMs: number } | null>;

  /**
   * Lets go of a session under the freeze that ends then, once its copy is in the other store: from here on the migration
   * only goes on, and whoever asks for the session is told where it went. False: it was deleted, or has expired, before.
   * Refused: Conflict when that freeze is over, Moved, Departed by another task.
   */
  depart(id: SessionRef, task: Buffer, untilMs: number): Promise<boolean>;

  /**
   * Ends the freeze of a session: of an outgoing one, which stays after all, or of an incoming copy, but of that only once
   * the session departed from its source. Refused: Frozen when it is by another task or goes the other way, Moved, Departed.
   */
  thaw(id: SessionRef, task: Buffer, direction: "outgoing" | "incoming"): Promise<"thawed" | "unchanged" | "missing">;

  /**
   * Clears away what a migration leaves that is not the session; false: there was no such thing. At the target a copy that
   * is not to be, only once its source can no longer depart under the freeze that ends then; at the source where it departed
   * to, only once the copy was thawed; at the target that the copy was deleted, only once the session is at the source too.
   */
  clean(
    id: SessionRef,
    task: Buffer,
    ...what: [what: "copy", options: { untilMs: number }] | [what: "departed" | "deleted"]
  ): Promise<boolean>;

  /**
   * The sessions that are on their way to or from another store, by the end of their freeze, without those that have
   * expired; at most 200. `next` is how many to skip to go on, if these stay on their way; null after the last page.
   */
  migrations(page?: { skip?: number; limit?: number }): Promise<{ migrations: Migration[]; next: number | null }>;

  /**
   * Whether anything is stored under an id: a session, live or expired, or what is left of one. What ends a session of which
   * a copy may wait in another store leaves word for as long as that could be stored. So of a session that was to leave from
   * here, false means that this store has lost what it knew, and the copy may be all that is left of it.
   */
  knows(id: Id): Promise<boolean>;

  /**
   * What becomes of the sessions of all partitions, in order within each: from `now` on, from the `beginning` of what is
   * kept, or behind a position that was kept. It looks in an interval of 50 ms unless told, over a connection of its own to
   * each server. Throws `InvalidError` where the namespace has no events, `ForbiddenError` where they may not be read.
   */
  events(from?: string, options?: { intervalMs?: number }): Promise<Events>;

  /**
   * The same of the sessions that a node has, or had before: for a gateway, at a cost that does not grow with the other
   * gateways.
   */
  eventsOfNode(node: string, from?: string, options?: { intervalMs?: number }): Promise<Events>;

  /** Calls on their way end by themselves, later ones fail, and events that are read end. */
  close(): Promise<void>;
}
