import { createClient } from "@redis/client";
import { Cluster } from "./cluster.js";
import { agree } from "./contract.js";
import { Engine } from "./engine.js";
import { eventsOf } from "./events.js";
import { InvalidError, NotExecutedError } from "./errors.js";
import { checkName, NodeIdentity, isText, OperationId } from "./ids.js";
import { Link, Lost } from "./link.js";
import { createMany } from "./make.js";
import * as many from "./many.js";
import * as migrate from "./migrate.js";
import * as nodes from "./nodes.js";
import { Operation } from "./operation.js";
import * as one from "./one.js";
import { MOST } from "./partitions.js";
import * as refresh from "./refresh.js";
import { rotate } from "./rotate.js";
import { checkInteger, checkNames, rulesOf } from "./rules.js";
import { parseCluster } from "./slots.js";
import { together } from "./together.js";

/** The longest deadline: an hour. */
const LONGEST_WAIT = 3_600_000;

/** A store of sessions: every operation of the engine. `store.d.ts` tells what each takes, returns and throws. */
export class Cloakroom {
  #engine;
  #operationId;
  #identity;

  /** `connect` makes one. */
  constructor(engine, operationId, identity) {
    this.#engine = engine;
    this.#operationId = operationId;
    this.#identity = identity;
  }

  /** Connects, notes the contract of the scripts in the namespace, and loads them. */
  static async connect(redis, options = {}) {
    checkNames("options", options, ["namespace", "partitions", "rules", "deadline", "clock"]);
    const { namespace = "cloakroom", deadline = 2000, clock } = options;
    checkNamespace(namespace);
    checkInteger("deadline", deadline, 1, LONGEST_WAIT);
    const rules = rulesOf(options.rules);
    const wanted = options.partitions;
    if (wanted !== undefined) checkInteger("partitions", wanted, 1, MOST);
    const servers = serversOf(redis);
    const until = performance.now() + deadline;
    try {
      await servers.open(until);
      const partitions = await agree(servers, namespace, wanted, rules.idScheme, until);
      return new Cloakroom(new Engine({ servers, partitions, rules, deadline, clock }));
    } catch (error) {
      await servers.close();
      throw error instanceof Lost ? new NotExecutedError(error.reason, error.cause) : error;
    }
  }

  /** The same store, with each call under this operation id: to repeat a call that threw `AmbiguousError`. */
  withOperationId(id) {
    if (!(id instanceof OperationId)) throw new InvalidError("operation id", "is none");
    return new Cloakroom(this.#engine, id, this.#identity);
  }

  /** The same store for a node that writes as the owner of its sessions, while it holds its lease. */
  asNode(identity) {
    if (!(identity instanceof NodeIdentity)) throw new InvalidError("identity", "is none");
    return new Cloakroom(this.#engine, this.#operationId, identity);
  }

  #operation() {
    return new Operation(this.#engine, this.#operationId, this.#identity);
  }

  /** An id for a new session of a user, or the token of one: in the partition of that user, as the store makes them. */
  newId(user) {
    const { partitions } = this.#engine;
    return partitions.newId(this.#operationId ?? new OperationId(), checkName("user", user));
  }

  async create(session = {}) {
    return one.create(this.#operation(), session);
  }

  async createMany(sessions) {
    const call = this.#operationId ?? new OperationId();
    return createMany(call, (id) => new Operation(this.#engine, id, this.#identity), sessions);
  }

  async get(id) {
    return one.get(this.#operation(), id);
  }

  async getMany(ids) {
    return together(ids, (id) => this.get(id));
  }

  async update(session) {
    return one.update(this.#operation(), session);
  }

  async patch(target, changes) {
    return one.patch(this.#operation(), target, changes);
  }

  async refresh(target) {
    return refresh.refresh(this.#operation(), target);
  }

  async refreshMany(targets) {
    return together(targets, (target) => this.refresh(target));
  }

  async refreshAndGet(target) {
    return refresh.refreshAndGet(this.#operation(), target);
  }

  async rotate(target, rotation = {}) {
    return rotate(this.#operation(), target, rotation);
  }

  async bind(target, binding) {
    return one.bind(this.#operation(), target, binding);
  }

  async unbind(target, connection) {
    return one.unbind(this.#operation(), target, connection);
  }

  async delete(target) {
    return one.remove(this.#operation(), target);
  }

  async deleteMany(targets) {
    return together(targets, (target) => this.delete(target));
  }

  async export(id) {
    return one.exported(this.#operation(), id);
  }

  async import(exported, options = {}) {
    return one.imported(this.#operation(), exported, options);
  }

  async sessionByConnection(connection) {
    return one.byConnection(this.#operation(), connection);
  }

  async list(owner, page = {}) {
    return many.list(this.#operation(), owner, page);
  }

  async count(owner) {
    return many.count(this.#operation(), owner);
  }

  async deleteUser(user, options = {}) {
    const id = this.#operationId ?? new OperationId();
    return many.deleteUser(() => new Operation(this.#engine, id), user, options);
  }

  async expired(page = {}) {
    return many.expired(this.#operation(), page);
  }

  async reap(batch = many.BATCH) {
    return many.reapExpired(this.#operation(), batch);
  }

  async heartbeat(identity, beat = {}) {
    return nodes.heartbeat(this.#operation(), identity, beat);
  }

  async nodes() {
    return nodes.nodes(this.#operation());
  }

  async lapsedNodes() {
    return nodes.lapsedNodes(this.#operation());
  }

  async recover(node, to, claim = {}) {
    return nodes.recover(this.#operation(), node, to, claim);
  }

  async freeze(target, task, place, options = {}) {
    return migrate.freeze(this.#operation(), target, task, place, options);
  }

  async depart(target, task, until) {
    return migrate.depart(this.#operation(), target, task, until);
  }

  async thaw(target, task, direction) {
    return migrate.thaw(this.#operation(), target, task, direction);
  }

  async clean(target, task, what, options = {}) {
    return migrate.clean(this.#operation(), target, task, what, options);
  }

  async migrations(page = {}) {
    return migrate.migrations(this.#operation(), page);
  }

  async knows(id) {
    return migrate.knows(this.#operation(), id);
  }

  async events(from = "now", options = {}) {
    return eventsOf(this.#engine, undefined, from, options);
  }

  async eventsOfNode(node, from = "now", options = {}) {
    return eventsOf(this.#engine, node ?? "", from, options);
  }

  /** Lets go of the connection. Calls on their way end by themselves, later ones fail. */
  async close() {
    const { servers, streams } = this.#engine;
    await Promise.all(Array.from(streams, (events) => events.close()));
    await servers.close();
  }
}

function checkNamespace(namespace) {
  if (!isText(namespace) || !/^[^{}]+$/s.test(namespace) || Buffer.byteLength(namespace) > 64) {
    throw new InvalidError("namespace", "must be text of 1 to 64 bytes without braces");
  }
}

/** The server of a URL, or the nodes of a cluster. */
function serversOf(redis) {
  const { url, ...options } = typeof redis === "string" ? { url: redis } : redis;
  const found = url === undefined ? undefined : parseCluster(url);
  if (found === undefined) return new Link(clientOf(redis));
  if (found === null) throw new InvalidError("url", "is no redis+cluster://[user:password@]host[:port],host[:port]");
  const { seeds, isTls, username, password } = found;
  const tls = isTls ? { tls: true } : {};
  return new Cluster(seeds, (address) => {
    const socket = { ...tls, ...options.socket, ...address };
    // Each attempt tells at once whether it was sent: a call waits for another owner, not for this one.
    const client = clientOf({ username, password, ...options, socket, disableOfflineQueue: true });
    return new Link(client).begin();
  });
}

/** A client of node-redis that connects again soon and for ever: the deadline of each call is what ends the waiting. */
function clientOf(redis) {
  const given = typeof redis === "string" ? { url: redis } : redis;
  const reconnectStrategy = (retries) => Math.min(retries * 50, 1000);
  try {
    return createClient({ ...given, RESP: 2, socket: { reconnectStrategy, ...given.socket } });
  } catch {
    // The cause would show the URL, which has the password.
    throw new InvalidError("url", "is no URL of a Redis server");
  }
}
