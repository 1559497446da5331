import type { Cursor } from "./cursor.js";
import type { Value, Values } from "./entries.js";
import type { CloakroomError } from "./errors.js";
import type { Events } from "./events.js";
import type { NodeIdentity, OperationId } from "./ids.js";
import type { Options, Redis } from "./rules.js";
import type { Session, SessionRef } from "./session.js";
import type { Id, Token } from "./token.js";

export interface NewSession {
  /** Defaults to an id that the store makes. */
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
  /** The token that the client must hold, returned only here; null: it holds the id itself. */
  token: Token | null;
  /** Deleted to stay within the limit. */
  evicted: Removed[];
  /** Expired, and in the way: no reaper will report them. */
  reaped: Session[];
}

/** Everything that it does not name stays. A key that is both set and removed is set. */
export interface Changes {
  set?: Map<string, Value> | Record<string, Value>;
  remove?: string[];
  setExtensions?: Map<string, Value> | Record<string, Value>;
  removeExtensions?: string[];
}

export interface Patch extends Changes {
  status?: "active" | "suspended";
  /** A new idle time, which starts now. */
  ttlMs?: number;
  /** How long it lives at most from now on; its idle time starts again. Defaults to the deadline that it has. */
  lifetimeMs?: number;
  /** Changes only a session at this version. */
  version?: number;
}

/** The result of a patch. `Session.apply` brings your copy up to date. */
export interface Patched {
  /** A new one if the session was rotated. */
  readonly id: string;
  version: number;
  /** When it was last used: a patch is a use. */
  lastActiveMs: number;
  expiresAtMs: number;
  /**
   * False: the patch named no attribute, no extension and no lifetime, status and ttl are what the session had, and
   * nothing was written. Setting a value to what it is already counts as a change.
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

/** The changes that a rotation makes in the same step. */
export interface Rotation extends Changes {
  /** Defaults to an id that the store makes. */
  newId?: Id;
  /** Makes the session this user's: a login. Defaults to the user that it has. */
  user?: string | null;
  /** Removes the user: a logout that keeps the session's data, such as a cart. */
  anonymous?: boolean;
  /** Another idle time. */
  ttlMs?: number;
  /**
   * How long it lives at most from now on: "remember me". A login or a logout defaults to the rule `maxLifetimeMs`; any
   * other rotation keeps the deadline.
   */
  lifetimeMs?: number;
  /** Keeps the deadline also at a login or a logout. */
  keepDeadline?: boolean;
}

export interface Rotated {
  session: Session;
  /** The token that the client must hold, returned only here; null: it holds the id itself, or another rotation came first. */
  token: Token | null;
  evicted: Removed[];
  /** Another rotation came first, and the new id is the one it made. */
  byAnother: boolean;
}

export interface Bound {
  readonly id: string;
  version: number;
  /** Close it if it differs from the new one. */
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

/** The migration that brings a session from a place, where it is frozen until `untilMs`, as `freeze` returned it. */
export interface Incoming {
  task: Buffer;
  untilMs: number;
  place: string;
  /** Gives it to a node here: without its connection, suspended, and one version higher. */
  node?: string | null;
}

/** A session that is on its way, as one of the two stores has it. */
export interface Migration {
  readonly id: string;
  task: Buffer;
  /** The other store. */
  place: string;
  /** The node that gets an outgoing session there; null: it keeps its own. */
  node: string | null;
  /**
   * Outgoing: it is frozen here. Incoming: a frozen copy is here, and becomes the session when the original departs.
   * Departed: it has gone to the other store, where the copy may be frozen still. Deleted: the copy here was deleted.
   */
  phase: "outgoing" | "incoming" | "departed" | "deleted";
  /** When the freeze at its source is over, by the clock there; null: there is none. */
  untilMs: number | null;
}

export type Selector = { user: string } | { node: string };

/** What became of an id, as far as the store remembers. It reveals no other id. */
export type Explanation =
  | { word: "live" | "deleted" | "unknown" }
  | { word: "expired"; atMs: number }
  /** `byLogin`: the rotation changed the user: a login, or a logout that kept the session. */
  | { word: "rotated"; byLogin: boolean }
  | { word: "departed"; place: string };

export interface Reaped {
  sessions: Session[];
  /** Entries of the expiry index that led to no session. */
  dropped: number;
  /**
   * Sessions that could not be removed, because something under their keys is corrupt. The record is set aside for a
   * week, under `{ns:p}:aside:<id>`.
   */
  readonly corrupt: string[];
  /** Whether there may be more: the sessions of one reap take 2 MiB at most, except that a single one may be larger. */
  more: boolean;
  /** How many more were removed, or are corrupt, that cannot be returned: an id or another field is not valid text. */
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

/** The result of a claim. */
export interface Claimed {
  /** The sessions that this call took, with the connections that they had. No other call reports them. */
  sessions: { readonly id: string; version: number; user: string | null; connection: string | null }[];
  /** Sessions that stay: frozen by a migration, corrupt, or changing all the time. */
  readonly frozen: string[];
  readonly corrupt: string[];
  readonly stale: string[];
  /** How many more were met whose ids are not valid text; those that were sound were taken. */
  unreadable: number;
  /** Where the next batch begins; null: there are no more sessions. */
  next: Cursor | null;
}

/**
 * A store of sessions. Each operation may throw `NotExecutedError`, `CorruptError` and `InvalidError`; one that writes
 * also `AmbiguousError`. Each operation names its refusals.
 */
export class Cloakroom {
  private constructor();

  /**
   * Throws `ContractError` if the namespace has recorded a contract that this client does not accept, `PartitionsError`
   * if it has another number of partitions than the options say, and `IdSchemeError` if it has another scheme of ids.
   */
  static connect(redis: Redis, options?: Options): Promise<Cloakroom>;

  /**
   * Returns the same store, which makes each call under this operation id (an idempotency key). Use it only to repeat a
   * call that threw `AmbiguousError`, with the same arguments. It throws that again if the stored data do not prove
   * whether the call has happened.
   */
  withOperationId(id: OperationId): Cloakroom;

  /** Makes an id for a new session of a user, or its token, in the partition of that user. */
  newId(user?: string | null): Id;

  /** Makes a session. Refused: Exists, Gone, Moved, Taken, Limit, TooLarge. */
  create(session?: NewSession): Promise<Created>;

  /**
   * Makes any number of sessions, 100 at one instant, and returns for each in order what `create` would return, or the
   * error that it would throw. If the rules limit the sessions per user, sessions with a user are made one after the
   * other.
   */
  createMany(sessions: readonly NewSession[]): Promise<(Created | CloakroomError)[]>;

  /** Reads a live session, also by an id that was rotated a moment ago. */
  get(id: Id): Promise<Session | null>;

  /** Returns for each in order what `get` would return, or the error that it would throw. */
  getMany(ids: readonly Id[]): Promise<(Session | null | CloakroomError)[]>;

  /** Saves a session, if nobody changed it since it was read. Refused: Missing, Conflict, Taken, TooLarge, Frozen. */
  update(session: Session): Promise<void>;

  /** Changes single attributes and extensions, status, ttl or lifetime. Refused: Missing, Conflict, TooLarge, Frozen. */
  patch(id: SessionRef, changes: Patch): Promise<Patched>;

  /** Records a use of a live session, and extends it when enough of its idle time has passed. Refused: Frozen. */
  refresh(id: SessionRef): Promise<Refreshed | null>;

  /** The same for many: returns the result or the error of each, in order. */
  refreshMany(sessions: readonly SessionRef[]): Promise<(Refreshed | null | CloakroomError)[]>;

  /** Refreshes a session and returns it: the first call of a web request. */
  refreshAndGet(id: SessionRef): Promise<Session | null>;

  /**
   * Gives a session a new id, and can change its user in the same step: a login, or a logout that keeps the session.
   * Refused: Missing, Exists, Limit, TooLarge, Frozen.
   */
  rotate(id: SessionRef, rotation?: Rotation): Promise<Rotated>;

  /** Attaches a connection, and the node that holds it. Refused: Missing, Taken unless it takes over, Frozen. */
  bind(id: SessionRef, binding: { connection: string; node?: string | null; takeOver?: boolean }): Promise<Bound>;

  /** Detaches a connection, only if the session still has it. Refused: Frozen. */
  unbind(id: SessionRef, connection: string): Promise<"detached" | "notBound" | "missing">;

  /** Deletes a live session, and returns what it had: close its connection. Null: there was no live session. */
  delete(id: SessionRef): Promise<Removed | null>;

  /** The same for many: returns the result or the error of each, in order. */
  deleteMany(sessions: readonly SessionRef[]): Promise<(Removed | null | CloakroomError)[]>;

  /** Reads a whole live session, to import it into another namespace or server. */
  export(id: Id): Promise<Exported | null>;

  /**
   * Imports an exported session: in the place of an older version of it, of nothing, or of exactly one version. With
   * `incoming` it comes by a migration and replaces nothing: the copy is frozen until it is thawed. Refused: Conflict,
   * Gone, Moved, Departed, Taken, TooLarge, Frozen.
   */
  import(
    exported: Exported,
    options?:
      | { replaces?: "older" | "nothing" | number; incoming?: undefined }
      | { replaces?: "nothing"; incoming: Incoming },
  ): Promise<"imported" | "unchanged" | "missing">;

  /** The live session that has a connection. */
  sessionByConnection(connection: string): Promise<Session | null>;

  /** Says what became of an id: for support staff, or for a page that says why the user must log in again. */
  explain(id: Id): Promise<Explanation>;

  /**
   * Reads a page of live sessions, oldest first, at one instant; each page is an instant of its own. The size is 1 to
   * 500 and defaults to 100. A page may hold fewer if its records would be larger than 2 MiB, or if it kept changing.
   * `next` is null after the last.
   */
  list(of: Selector, page?: { size?: number; after?: Cursor | string }): Promise<{ sessions: Session[]; next: Cursor | null }>;

  /** Counts the live sessions of a user or node. */
  count(of: Selector): Promise<number>;

  /** Logs a user out everywhere: deletes all sessions, or all except one. `unreadable` more had ids that are not valid text. */
  deleteUser(
    user: string,
    options?: { keep?: Id },
  ): Promise<{ removed: Removed[]; readonly corrupt: string[]; unreadable: number }>;

  /** Lists expired sessions, oldest first; at most 1,000, by default 100. `beforeMs` defaults to now. */
  expired(page?: { beforeMs?: number; skip?: number; limit?: number }): Promise<{ readonly id: string; expiredAtMs: number }[]>;

  /** Removes a batch of expired sessions, 1 to 200, and returns them. After `AmbiguousError` their list is lost. */
  reap(batch?: number): Promise<Reaped>;

  /**
   * Returns the same store, acting for a node while that node holds its lease. A later write is refused: Fenced.
   * `create` and `bind` put sessions only on that node.
   */
  asNode(identity: NodeIdentity): Cloakroom;

  /**
   * Registers a node under a lease, renews it (the default) or releases it; returns until when it is held. Renew it at
   * every third of its length, which is 15 seconds by default. By the node's own clock the lease is over when its
   * length has passed since just before the last renewal was sent: stop writing, and register with a new
   * `NodeIdentity`. Refused: Leased when another process holds a lease of the node, Fenced when this lease is lost.
   *
   * With several partitions each has a lease, and all end together. A `FencedError` names the partitions where the
   * lease is lost: stop writing to the sessions there, and register again with the same identity. That takes a new
   * lease there, and renews the others.
   */
  heartbeat(
    identity: NodeIdentity,
    beat?: { want?: "register" | "renew" | "release"; leaseMs?: number; keepMs?: number },
  ): Promise<number>;

  /** Lists the nodes that hold a lease or held one lately, ordered by name. */
  nodes(): Promise<Node[]>;

  /** Lists the names of the nodes whose leases have run out, so that their sessions can be recovered. */
  lapsedNodes(): Promise<string[]>;

  /**
   * Gives a batch of a node's sessions, 1 to 200, to another node that holds its own lease. The first node's lease has
   * run out, or with `evenIfLeased` the node is being drained. Each session loses its connection, and is suspended with
   * time left to reconnect, by default a minute. Refused: Leased when the node holds its lease, Fenced when the other
   * does not.
   */
  recover(
    node: string,
    to: string,
    claim?: { batch?: number; reconnectMs?: number; evenIfLeased?: boolean; after?: Cursor | string },
  ): Promise<Claimed>;

  /**
   * Freezes a live session that will move to another store, the place: from now on callers can read and delete it, but
   * not change it. The freeze ends by itself after the span, by default 30 seconds and an hour at most, unless the
   * session departed. `node` is the node that gets it there; the freeze records it for the process that continues the
   * migration: pass it in `incoming`. This and the next three, with an incoming `import` after this one, are the steps
   * of a migration. Any process that knows the task can retry each step. The task is eight random bytes that the caller
   * keeps, the same for all steps. Refused: Frozen when another task moves it, Departed.
   */
  freeze(
    id: SessionRef,
    task: Buffer,
    place: string,
    options?: { node?: string; spanMs?: number },
  ): Promise<{ exported: Exported; untilMs: number } | null>;

  /**
   * Removes a session under the freeze that ends at `untilMs`, once its copy is in the other store. From here on the
   * migration can only go forward, and callers learn where the session went. False: it was deleted or had expired
   * before. Refused: Conflict when that freeze is over, Moved, Departed by another task.
   */
  depart(id: SessionRef, task: Buffer, untilMs: number): Promise<boolean>;

  /**
   * Ends the freeze of an outgoing session, to keep it after all, or of an incoming copy, but only once the session
   * departed from its source. Refused: Frozen when another task froze it or it moves the other way, Moved, Departed.
   */
  thaw(id: SessionRef, task: Buffer, direction: "outgoing" | "incoming"): Promise<"thawed" | "unchanged" | "missing">;

  /**
   * Removes what a migration left that is not the session; false: there was none. At the target, an unneeded copy: only
   * once the session can no longer depart from its source under the freeze that ends at `untilMs`. At the source, the
   * note of where it departed to: only once the copy was thawed. At the target, the note that the copy was deleted:
   * only once the session is deleted at the source too.
   */
  clean(
    id: SessionRef,
    task: Buffer,
    ...what: [what: "copy", options: { untilMs: number }] | [what: "departed" | "deleted"]
  ): Promise<boolean>;

  /**
   * Lists the sessions on their way to or from another store, ordered by the end of their freeze, without expired
   * ones; at most 200. `next` is how many to skip for the next page, if these stay on their way; null after the last
   * page.
   */
  migrations(page?: { skip?: number; limit?: number }): Promise<{ migrations: Migration[]; next: number | null }>;

  /**
   * Returns whether anything is stored under an id: a session, live or expired, or a trace of one. When a session ends
   * while another store may hold its copy, this store keeps a trace for as long as that copy could be stored. So false
   * for a session that was about to leave means that this store has lost its data, and the copy may be all that is
   * left.
   */
  knows(id: Id): Promise<boolean>;

  /**
   * Reads the events of all sessions, in order within each partition: from `now` on, from the `beginning` of the kept
   * events, or from behind a stored position. It polls every 50 ms by default, over its own connection to each server.
   * Throws `InvalidError` if the namespace has no events, `ForbiddenError` if the user may not read them.
   */
  events(from?: string, options?: { intervalMs?: number }): Promise<Events>;

  /**
   * Reads the events of the sessions that a node has or had: for a gateway, at a cost that does not grow with the
   * number of gateways.
   */
  eventsOfNode(node: string, from?: string, options?: { intervalMs?: number }): Promise<Events>;

  /** Calls on their way still end by themselves, later calls fail, and readers of events end. */
  close(): Promise<void>;
}
