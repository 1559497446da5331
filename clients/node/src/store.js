import { BATCH } from "./batch.js";
import { serversOf } from "./connect.js";
import { agree } from "./contract.js";
import { Engine } from "./engine.js";
import { eventsOf } from "./events.js";
import { InvalidError, NotExecutedError } from "./errors.js";
import { explain } from "./explain.js";
import { checkName, NodeIdentity, OperationId, requireName } from "./ids.js";
import { checkInstance, checkInteger, checkIntegerIfGiven, checkList, checkOptions, isText } from "./input.js";
import { Lost } from "./link.js";
import { createMany } from "./make.js";
import * as many from "./many.js";
import * as migrate from "./migrate.js";
import * as nodes from "./nodes.js";
import { Operation } from "./operation.js";
import * as one from "./one.js";
import { MOST } from "./partitions.js";
import * as refresh from "./refresh.js";
import { rotate } from "./rotate.js";
import { rulesOf } from "./rules.js";
import { together } from "./together.js";

/** The largest bound of commands that wait. */
const MOST_WAITING = 1_000_000;
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
    checkOptions("options", options, ["namespace", "partitions", "rules", "deadlineMs", "maxWaiting", "clock"]);
    const { namespace = "cloakroom", deadlineMs = 2000, clock } = options;
    checkNamespace(namespace);
    checkInteger("deadlineMs", deadlineMs, 1, LONGEST_WAIT);
    if (clock !== undefined && typeof clock !== "function") throw new InvalidError("clock", "must be a function");
    const rules = rulesOf(options.rules);
    const wanted = checkIntegerIfGiven("partitions", options.partitions, 1, MOST);
    const maxWaiting = checkIntegerIfGiven("maxWaiting", options.maxWaiting, 1, MOST_WAITING);
    const servers = serversOf(redis, { maxWaiting });
    const until = performance.now() + deadlineMs;
    try {
      await servers.open(until);
      const partitions = await agree(servers, namespace, wanted, rules.idScheme, until);
      return new Cloakroom(new Engine({ servers, partitions, rules, deadlineMs, clock }));
    } catch (error) {
      await servers.close();
      throw error instanceof Lost ? new NotExecutedError(error.reason, error.cause) : error;
    }
  }

  /** The same store, with each call under this operation id: to repeat a call that threw `AmbiguousError`. */
  withOperationId(id) {
    checkInstance("id", id, OperationId);
    return new Cloakroom(this.#engine, id, this.#identity);
  }

  /** The same store for a node that writes as the owner of its sessions, while it holds its lease. */
  asNode(identity) {
    checkInstance("identity", identity, NodeIdentity);
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
    return createMany(this.#operationId, (id) => new Operation(this.#engine, id, this.#identity), sessions);
  }

  async get(id) {
    return one.get(this.#operation(), id);
  }

  async getMany(ids) {
    return together(checkList("ids", ids), (id) => this.get(id));
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

  async refreshMany(sessions) {
    return together(checkList("sessions", sessions), (session) => this.refresh(session));
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

  async deleteMany(sessions) {
    return together(checkList("sessions", sessions), (session) => this.delete(session));
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

  /** What became of an id. */
  async explain(id) {
    return explain(this.#operation(), id);
  }

  async list(of, page = {}) {
    return many.list(this.#operation(), of, page);
  }

  async count(of) {
    return many.count(this.#operation(), of);
  }

  async deleteUser(user, options = {}) {
    const id = this.#operationId ?? new OperationId();
    return many.deleteUser(() => new Operation(this.#engine, id), user, options);
  }

  async expired(page = {}) {
    return many.expired(this.#operation(), page);
  }

  async reap(batch = BATCH) {
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

  async depart(target, task, untilMs) {
    return migrate.depart(this.#operation(), target, task, untilMs);
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
    return eventsOf(this.#engine, requireName("node", node), from, options);
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
