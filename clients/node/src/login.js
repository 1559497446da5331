/**
 * A login of a user who is in another partition than the session: three calls, for no script reaches two partitions. Each may
 * be repeated, under the one operation id of the login.
 *
 * 1. A copy is brought in under a new id, with the user: it has no more than a minute to live, and nobody knows its id. Its
 *    connection does not lead to it yet.
 * 2. The old id is left, at the version that was copied. This is the login: before it the old session is as it was, after it
 *    the copy is the session.
 * 3. The session gets its whole idle time, after its connection if it had one.
 *
 * Whatever dies between two of them, the old id never has the user's rights, and what nobody knows is gone in a minute.
 */

import { settle } from "./declared.js";
import { changedEntries } from "./entries.js";
import {
  AmbiguousError,
  CloakroomError,
  ConflictError,
  ContendedError,
  DepartedError,
  ExistsError,
  FrozenError,
  MissingError,
  MovedError,
  NotExecutedError,
} from "./errors.js";
import { OperationId } from "./ids.js";
import { current, exportOf, lookup } from "./lookup.js";
import { expect, importOf } from "./one.js";
import { Session, sessionOf } from "./session.js";

/** How long a copy lives at most that does not become the session. */
const COPY_LIVES = 60_000;
/** How long a copy has to live on at least for the old id to be left. */
const TIME_TO_LEAVE = 10_000;
/** How often a session may change between the copy and the login. */
const ROUNDS = 32;
const OP_ID_BYTES = 8;

/** Logs in. Where it may have happened, the error has the operation id of the login. */
export async function logIn(operation, old, { newId, token, rotation }) {
  const login = new Login(operation, old, newId, rotation);
  try {
    return { token, ...(await login.run()) };
  } catch (error) {
    if (error instanceof AmbiguousError) throw login.ambiguous(error);
    throw error;
  }
}

class Login {
  #operation;
  #source;
  #target;
  #old;
  #newId;
  #rotation;
  #isRepeatable;

  constructor(operation, old, newId, rotation) {
    const { partitions } = operation;
    // Only a caller who gave the operation id may repeat it.
    this.#isRepeatable = !operation.isTheOnlyOne;
    this.#operation = operation;
    this.#source = partitions.of(old.id);
    this.#target = partitions.of(rotation.user);
    this.#old = old;
    this.#newId = newId;
    this.#rotation = rotation;
  }

  async run() {
    const evicted = [];
    for (let rounds = 0; rounds < ROUNDS; rounds++) {
      let copy;
      let known = this.#old;
      let version = 0; // no session is at that
      const found = await current(this.#step(this.#source), this.#old.id);
      const record = found?.record;
      if (record?.kind === "live") {
        if (record.freeze) throw new FrozenError();
        copy = this.#copyOf(record, found.now);
        evicted.push(...(await this.#bring(copy, record)));
        if (this.#isRepeatable) await this.#requireCopy();
        ({ version } = record);
        known = { id: this.#old.id, user: record.user, connection: record.connection, node: record.node };
      } else if (record?.kind === "moved") {
        return this.#rotatedByAnother(record.new_id);
      } else if (record?.kind === "departed") {
        throw new DepartedError(record);
      }
      // What is gone may have been left by this very login.
      try {
        await this.#leave(known, version);
      } catch (error) {
        // It changed since it was copied.
        if (error instanceof ConflictError) continue;
        if (error instanceof MovedError && error.newId !== null) return this.#rotatedByAnother(error.newId);
        throw error;
      }
      return { session: await this.#complete(copy, known), evicted, byAnother: false };
    }
    throw new ContendedError();
  }

  ambiguous(error) {
    return new AmbiguousError(this.#operation.id.ofARepeat(), error);
  }

  /** A call of the login. */
  #step(partition, id = this.#operation.id) {
    const step = this.#operation.another(partition, id);
    step.changes();
    return step;
  }

  /** The session as it will be, but for its connection and its short life. */
  #copyOf(record, now) {
    const { user, list, ttlMs, lifetimeMs } = this.#rotation;
    const deadline = lifetimeMs === undefined ? record.deadline : lifetimeMs && now + lifetimeMs;
    const expires_at = Math.min(record.expires_at, now + COPY_LIVES, deadline || Infinity);
    const entries = changedEntries(record.entries, list);
    const changed = { user, connection: "", version: record.version + 1, ttl: ttlMs ?? record.ttl, deadline, expires_at };
    return { ...record, entries, ...changed };
  }

  /**
   * Brings the copy of a version in, and returns those that the user has too many of. It takes the place of nothing but an
   * earlier copy of this login.
   */
  async #bring(copy, { version: of }) {
    try {
      return await this.#import(copy, 0, of);
    } catch (error) {
      if (error instanceof MovedError) throw new ExistsError();
      if (!(error instanceof ConflictError)) throw error;
      // Another session has the new id.
      if (!(await this.#isOwnCopy(error.version))) throw new ExistsError();
      return this.#import(copy, error.version, of).catch((again) => {
        throw again instanceof ConflictError || again instanceof MovedError ? new ExistsError() : again;
      });
    }
  }

  async #import(copy, replaces, of) {
    const operation = this.#step(this.#target, this.#idOfCopy(of));
    const { limit: login_limit, policy: login_policy } = operation.engine.ruleArguments;
    const importing = settle(operation, "import", {
      ...importOf(operation, exportOf(this.#newId, copy)),
      // Of what is there nothing is known.
      user: "",
      node: "",
      replaces,
      login_limit,
      login_policy,
    });
    const { reply, evicted } = await importing.catch((error) => {
      // A login that may have happened stays in doubt where nobody can be asked.
      const isInDoubt = error instanceof NotExecutedError && this.#operation.id.isOfARepeat;
      throw isInDoubt ? this.ambiguous(error) : error;
    });
    return expect(reply, "ok", "unchanged").word === "ok" ? evicted : [];
  }

  /**
   * Under which id the copy of a version is brought in: each has its own, or a later one would be taken for an earlier. That
   * what is there is its own earlier copy the login looks up, so the call needs no bound from before the login: by such a one
   * a copy that was brought in since could not tell of it.
   */
  #idOfCopy(of) {
    return this.#operation.id.nth(of).ofAFirstCall();
  }

  /** Whether what is under the new id is a copy that this login brought in, and at that version. */
  async #isOwnCopy(version) {
    const found = await lookup(this.#step(this.#target), this.#newId);
    if (found?.session.version !== version) return false;
    const own = this.#idOfCopy(version - 1).bytes;
    const { operations } = found;
    const places = Array.from({ length: operations.length / OP_ID_BYTES }, (_, at) => at * OP_ID_BYTES);
    return places.some((at) => operations.subarray(at, at + OP_ID_BYTES).equals(own));
  }

  /**
   * A login that is repeated after long may be told of a copy that has expired since, or was logged out. Nothing is left for
   * that: it has to be made anew, under another operation id.
   */
  async #requireCopy() {
    const found = await current(this.#step(this.#target), this.#newId);
    if (found?.record.kind !== "live" || found.record.expires_at <= found.now + TIME_TO_LEAVE) throw new ContendedError();
  }

  async #leave(known, version) {
    const operation = this.#step(this.#source);
    const own = { version, new_id: this.#newId, tombstone_ms: operation.rules.rotationGraceMs };
    const { reply } = await settle(operation, "delete", { ...known, ...own });
    expect(reply, "ok");
  }

  /**
   * The session with the connection that it had, if that is known, and its whole idle time. A login that is repeated may have
   * come so far before. An error after the login has happened says that it is to be repeated, before the session ends; unless
   * that is gone again.
   */
  async #complete(copy, was) {
    try {
      return await this.#completed(copy, was);
    } catch (error) {
      const isTold = error instanceof MissingError || error instanceof AmbiguousError;
      throw isTold || !(error instanceof CloakroomError) ? error : this.ambiguous(error);
    }
  }

  async #completed(copy, was) {
    let { user, connection, node } = copy ?? {};
    if (!copy) {
      const found = await lookup(this.#step(this.#target), this.#newId);
      if (!found) throw new MissingError();
      ({ user, connection, node } = Session.declared(found.session));
    }
    if (was.connection && !connection && (await this.#bind({ user, connection, node }, was))) ({ connection, node } = was);
    const operation = this.#step(this.#target);
    const whole = { threshold: 1000, touch_ms: 0, want: "record" };
    const known = { id: this.#newId, user, connection, node };
    const { reply, id } = await settle(operation, "refresh", { ...known, ...whole });
    return sessionOf(id, expect(reply, "ok", "unchanged").record);
  }

  /** Whether the session has the connection now: it stays with another session of this partition that has it by now. */
  async #bind(routing, { connection, node }) {
    // Under an id of its own, for a session that was brought in tells of no other call whether it has happened. And what has
    // no connection was not bound.
    const operation = this.#step(this.#target, new OperationId());
    const binding = { new_connection: connection, new_node: node, policy: "refuse" };
    const { reply } = await settle(operation, "bind", { id: this.#newId, ...routing, ...binding });
    if (reply.word === "taken") return false;
    expect(reply, "ok", "unchanged");
    return true;
  }

  async #rotatedByAnother(id) {
    const operation = this.#step(this.#source);
    if (operation.partitions.idScheme === "token") throw new MovedError({});
    // Another login took it to another partition, and the user with it.
    const found = operation.partitions.of(id) === this.#source ? await lookup(operation, id) : null;
    if (!found) throw new MissingError();
    return { session: found.session, token: null, evicted: [], byAnother: true };
  }
}
