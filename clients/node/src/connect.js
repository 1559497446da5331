/** What a store connects to: a server, the nodes of a cluster, or where a client of node-redis leads that a caller has. */

import { createClient } from "@redis/client";
import { Cluster } from "./cluster.js";
import { InvalidError } from "./errors.js";
import { isPlain, isText, kindOf } from "./input.js";
import { Link } from "./link.js";
import { parseCluster } from "./slots.js";

/** The system asks over a connection without traffic whether the other end is there, after so long. */
const KEEP_ALIVE = 30_000;

/** Connects again soon and for ever: the deadline of each call is what ends the waiting. */
const SOCKET = {
  reconnectStrategy: (retries) => Math.min(retries * 50, 1000),
  keepAlive: true,
  keepAliveInitialDelay: KEEP_ALIVE,
};

/**
 * What a client may do by itself is turned off: to hold calls back or to give them up is the store's, and nothing that its
 * scripts read is read through a cache. It speaks RESP 2 unless the caller's says otherwise.
 */
const CLIENT = {
  commandsQueueMaxLength: undefined,
  disableOfflineQueue: false,
  readonly: false,
  pingInterval: undefined,
  keyPrefix: undefined,
  commandOptions: undefined,
  clientSideCache: undefined,
  emitInvalidate: false,
  maintNotifications: "disabled",
};

/** What sends the commands of a store. `limits` are those of each server's link. */
export function serversOf(redis, limits = {}) {
  if (isClient(redis)) return new Link(duplicateOf(redis), limits);
  const given = typeof redis === "string" ? { url: redis } : redis;
  if (!isPlain(given))
    throw new InvalidError("redis", `is ${kindOf(redis)}, must be a URL, options or a client of node-redis`);
  const { url, ...options } = given;
  if (url !== undefined && (!isText(url) || url === ""))
    throw new InvalidError("redis", "has a url that is empty, or not text");
  const found = url === undefined ? undefined : parseCluster(url);
  if (found === undefined) return new Link(clientOf(given), limits);
  if (found === null) throw new InvalidError("redis", "must be redis+cluster://[user:password@]host[:port],host[:port]");
  const { seeds, isTls, username, password } = found;
  const tls = isTls ? { tls: true } : {};
  return new Cluster(seeds, (address) => {
    const socket = { ...tls, ...options.socket, ...address };
    // Each attempt tells at once whether it was sent: a call waits for another owner, not for this one.
    const client = clientOf({ username, password, ...options, socket, disableOfflineQueue: true });
    // A replica sends whoever asks for a key to the master.
    return new Link(client, { ...limits, asksRole: false }).begin();
  });
}

function clientOf({ RESP = 2, disableOfflineQueue = false, ...given }) {
  try {
    return createClient({ ...given, ...CLIENT, RESP, disableOfflineQueue, socket: { ...SOCKET, ...given.socket } });
  } catch {
    // The cause would show the URL, which has the password.
    throw new InvalidError("redis", "has a url that is none of a Redis server, or bad options");
  }
}

/** Whether it is a client, and of one server. */
function isClient(redis) {
  if (typeof redis?.sendCommand !== "function") return false;
  const isOfOne = typeof redis.duplicate === "function" && isPlain(redis.options) && redis.masters === undefined;
  if (isOfOne && typeof redis.withTypeMapping === "function") return true;
  const why = "is not a client of one server by node-redis 5 or 6: give its URL, or the URL of a cluster";
  throw new InvalidError("redis", why);
}

/** A connection of the store's own to where a client leads: the client's is its caller's to use and to close. */
function duplicateOf(client) {
  const { RESP = 2, socket } = client.options;
  return client.duplicate({ ...CLIENT, RESP, socket: { ...socket, ...SOCKET } });
}
