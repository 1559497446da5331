/**
 * A client of node-redis, 5.8 or later, of one server. A store takes from it where it leads and by whom, and connects there by
 * itself: the client stays its caller's.
 */
export interface RedisClient {
  readonly options: object;
  sendCommand(args: any, options?: any): Promise<unknown>;
  duplicate(overrides?: any): unknown;
  withTypeMapping(typeMapping: any): unknown;
}

/**
 * Options of `createClient` of node-redis. A store sets the queue, the cache and the prefix itself; `socket` may change how it
 * connects again.
 */
export interface RedisOptions {
  url?: string;
  username?: string;
  password?: string;
  database?: number;
  socket?: object;
  RESP?: 2 | 3;
  [option: string]: unknown;
}

/**
 * Connects to a Redis server: a URL, options, or where a client leads. A URL of a cluster is
 * `redis+cluster://[user:password@]host[:port],host[:port]`, which names some of its nodes.
 */
export type Redis = string | RedisOptions | RedisClient;

export interface Options {
  /** What all keys begin with: 1 to 64 bytes, no braces. Defaults to `cloakroom`. */
  namespace?: string;
  /**
   * Over how many partitions the sessions of the namespace are spread, 1 to 1,024. It is fixed when the namespace is made, 1
   * unless told; later stores read it there.
   */
  partitions?: number;
  rules?: Rules;
  /** How long an operation may take in all. Defaults to 2000. */
  deadlineMs?: number;
  /**
   * How many commands may wait at one server for their replies: a call beyond ends in `NotExecutedError` with the reason `busy`.
   * Defaults to 10,000.
   */
  maxWaiting?: number;
  /** Stands in for the server's clock, in tests of an application: milliseconds since the epoch. */
  clock?: () => number;
}

/** What holds for all sessions of a namespace. All its processes should share the rules. */
export interface Rules {
  /**
   * How the ids of sessions are made that were given none: `uuid`, or `token`, and then they are the hashes of tokens. A
   * namespace has one scheme. Defaults to `uuid`.
   */
  idScheme?: "uuid" | "token";
  /** How long a session lives without being used. Defaults to 30 minutes. */
  ttlMs?: number;
  /**
   * How long it lives after its last use: the `ttlMs`, which every use extends (`refreshThreshold` is 1), with a
   * `touchIntervalMs` of 60 s, or a twentieth of it if that is less. It is told instead of these three.
   */
  idleTimeoutMs?: number;
  /** How long it lives at most, however much it is used. Defaults to no limit. */
  maxLifetimeMs?: number;
  /** A refresh extends when less than this part of the ttl is left; 1 extends each time. Defaults to 0.5. */
  refreshThreshold?: number;
  /**
   * A refresh writes nothing when the last use is less than this ago, unless the session would expire within that time: then
   * it is a read. For a service that refreshes with each request, take 60 s, or a twentieth of the ttl if that is less.
   * Defaults to 0.
   */
  touchIntervalMs?: number;
  /** How long an expired session stays stored, to be reaped. Defaults to one hour. */
  graceMs?: number;
  /** How long the old id of a rotated session leads to it. Defaults to 30 seconds. */
  rotationGraceMs?: number;
  /** How long the id of a deleted session cannot be created again. Defaults to 30 seconds. */
  tombstoneMs?: number;
  /** How many live sessions a user may have, 1 to 500. Defaults to no limit. */
  sessionsPerUser?: number;
  /** At the limit: refuse, or delete the user's oldest. Defaults to `reject`. */
  onLimit?: "reject" | "evictOldest";
  /** The largest JSON text of one attribute or extension, in bytes: at most 15 MiB. Defaults to 256 KiB. */
  valueBytes?: number;
  /** What all of a session's entries may take, with their keys and five bytes each: at most 15 MiB. Defaults to 256 KiB. */
  sessionBytes?: number;
  /** How many entries a session may have, and how many changes of them a call may make. Defaults to 1024. */
  sessionEntries?: number;
}
