import { setTimeout } from "node:timers/promises";
import { bundle } from "./bundle.js";
import { commandOf, keyOf } from "./call.js";
import { AmbiguousError, ContendedError, CorruptError, MissingError, NotExecutedError } from "./errors.js";
import { History } from "./history.js";
import { OperationId } from "./ids.js";
import { storedOf } from "./layout.js";
import { Lost } from "./link.js";
import { readReply } from "./reply.js";
import { timeOf } from "./server-clock.js";
import { codeOf, commandsAt, isOfReplica, mayHaveWritten } from "./server-errors.js";

/** How often one call is sent at most when its connection breaks under it; the deadline ends it too. */
const ATTEMPTS = 10;
/** How often a call begins anew because four others changed its session since it began. */
const BEGINNINGS = 32;
/**
 * What proves, of a call that may have happened, that it has, or that it cannot any more. Another refusal may turn, and a
 * first attempt that comes late would be executed then.
 */
const PROOFS = ["ok", "again", "conflict", "exists", "gone", "moved", "rotated", "departed", "need"];
/** Between two attempts at a server that is not the master: at first, each next one twice as long, and at most. */
const [FIRST_PAUSE, LONGEST_PAUSE] = [20, 250];
const UNSURE = "the session has changed too often since then to prove it";
/** Between two loads for one call, so that a server that keeps no script is not kept busy. */
const PAUSE = 5;

/** One call of a store: its deadline, its operation id, its round trips. */
export class Operation {
  #engine;
  #until;
  #id;
  #identity;
  #history;
  #isChange = false;
  /** Whether what it does is noted in a session, so that it may be asked for. */
  #isNoted = false;

  constructor(engine, id, identity) {
    this.#engine = engine;
    this.begin();
    this.#id = id;
    this.#identity = identity;
    this.#history = new History(id);
  }

  get id() {
    return (this.#id ??= new OperationId());
  }

  /** The node that makes the call as the owner of what it writes, if one does. */
  get identity() {
    return this.#identity;
  }

  /** In which partition it works, with what all its calls share. */
  get engine() {
    return this.#engine;
  }

  get partitions() {
    return this.#engine.partitions;
  }

  /** Goes on in the partition of a session's id, or of a user. */
  enter(text) {
    this.#engine = this.#engine.of(text);
  }

  /** Another call of the same operation, in a partition, by the same deadline. */
  another(partition, id = this.#id) {
    const another = new Operation(this.#engine.at(partition), id, this.#identity);
    another.#until = this.#until;
    return another;
  }

  /** Its deadline begins now: for work that goes through the partitions one after the other. */
  begin() {
    this.#until = performance.now() + this.#engine.deadlineMs;
  }

  /** One for each partition; it alone where there is one. */
  parts() {
    if (this.#engine.isOne) return [this];
    return this.partitions.tags.map((_, partition) => this.another(partition));
  }

  get rules() {
    return this.#engine.rules;
  }

  /** A key of the bundle, by its name there. */
  key(name, values) {
    return keyOf(bundle.keys[name].pattern, this.#engine.tag, values);
  }

  /** The time that TIME told, unless a test set another. */
  now(time) {
    return this.#engine.clock?.() ?? timeOf(time);
  }

  /** A time that the server's clock has passed, as far as that is known without asking. */
  get knownTime() {
    return this.#engine.clock?.() ?? this.#engine.link.clock.noLaterThan(performance.now());
  }

  /** An id of a part of the call. If that may have happened, the part may have. */
  idOfPart(id) {
    return this.#history.doubt ? id.ofARepeat() : id;
  }

  /** Why the call may have happened, if it may. */
  get doubt() {
    return this.#history.doubt;
  }

  /** Whether all attempts under its operation id are its own. */
  get isTheOnlyOne() {
    return this.#history.isOfOwnId;
  }

  /**
   * It is to change something: what reads first says so before, for if a call under its operation id may have happened
   * already, a server that cannot be asked proves nothing.
   */
  changes() {
    this.#isChange = true;
  }

  /** Throws `AmbiguousError` if the call may have happened. */
  checkSure() {
    if (this.#isNoted && this.#history.doubt) throw this.ambiguous(this.#history.doubt);
  }

  /** What some work comes to, or an `AmbiguousError` if the call may have happened and its error proves nothing of that. */
  async doubting(work) {
    try {
      return await work();
    } catch (error) {
      const { doubt } = this.#history;
      if (error instanceof NotExecutedError && this.#isChange && doubt) throw this.ambiguous(doubt);
      if (error instanceof CorruptError || error instanceof MissingError) this.checkSure();
      throw error;
    }
  }

  /** Runs a script, as often as its effect allows when the connection breaks under it. */
  async run(stem, values) {
    this.#isChange ||= bundle.operations[stem].effect !== "reads";
    this.#isNoted ||= bundle.operations[stem].effect === "noted";
    return this.doubting(() => this.#settled(stem, values));
  }

  /** Runs a script until it tells whether the call has happened, or proves not to be able to. */
  async #settled(stem, values) {
    const { effect } = bundle.operations[stem];
    for (let beginnings = 0; beginnings < BEGINNINGS; beginnings++) {
      const reply = readReply(stem, await this.#deliver(stem, values));
      if (effect !== "noted") return reply;
      const { doubt } = this.#history;
      if (reply.word !== "unsure") {
        if (doubt && !PROOFS.includes(reply.word)) throw this.ambiguous(doubt);
        return reply;
      }
      if (!this.#history.beginAnew()) throw this.ambiguous(doubt, UNSURE);
    }
    throw new ContendedError();
  }

  /** Sends commands that only read the key `what`, again if the connection breaks. */
  async read(what, ...commands) {
    const replies = await this.#exchange(commands);
    if (replies.some((reply) => codeOf(reply) === "WRONGTYPE")) {
      this.checkSure();
      throw new CorruptError(what);
    }
    return replies;
  }

  /**
   * What commands that only read answer at one instant, and that time; null where the server refuses that. It does so
   * where a key is of a foreign type, and where its memory is full, though it would run each by itself.
   */
  async readAtOnce(...commands) {
    const transaction = [["MULTI"], ["TIME"], ...commands.map((command) => command.map(storedOf)), ["EXEC"]];
    const attempt = () => this.#engine.link.sendWhole(transaction, this.#until);
    const errorOfLost = ({ reason, cause }) => new NotExecutedError(reason, cause);
    const executed = (await this.doubting(() => repeat(attempt, errorOfLost))).at(-1);
    if (!Array.isArray(executed) || executed.some(codeOf)) return null;
    const [time, ...replies] = executed;
    return { now: this.now(time), replies };
  }

  /** Reads strings: empty where there is none or a foreign type. */
  async readStrings(...commands) {
    if (commands.length === 0) return [];
    const replies = await this.#exchange(commands.map((command) => command.map(storedOf)));
    return replies.map((reply) => (Buffer.isBuffer(reply) ? reply : Buffer.alloc(0)));
  }

  /** The replies, which may be errors of a foreign type. */
  async #exchange(commands) {
    const attempt = () => this.#engine.link.send(commands, this.#until);
    return this.doubting(async () => {
      const replies = await repeat(attempt, ({ reason, cause }) => new NotExecutedError(reason, cause));
      const failed = replies.find((reply) => codeOf(reply) && codeOf(reply) !== "WRONGTYPE");
      if (failed) throw new NotExecutedError("server", failed);
      return replies;
    });
  }

  /** Sends a script until there is an answer. */
  async #deliver(stem, values) {
    const { effect } = bundle.operations[stem];
    const reads = effect === "reads";
    const attempt = async () => {
      if (effect === "noted") await this.#untilAlone();
      try {
        return await this.#evaluate(stem, values);
      } catch (error) {
        if (error instanceof Lost && !reads) this.#history.lost(error.cause ?? new Error(error.reason));
        throw error;
      }
    };
    const errorOfLost = ({ reason, cause }) => (reads ? new NotExecutedError(reason, cause) : this.ambiguous(cause));
    return repeat(attempt, errorOfLost, { isOnce: effect === "reported_once", until: this.#until });
  }

  /** A call that is sent a second time waits until nobody takes that for the first. */
  async #untilAlone() {
    const { notBefore } = this.#history;
    const left = notBefore - performance.now();
    if (left <= 0) return;
    if (notBefore >= this.#until) throw new NotExecutedError("deadline");
    await setTimeout(left);
    // A timer may fire a little early.
    return this.#untilAlone();
  }

  /** NOSCRIPT means that it was not executed, so a flushed script cache or a failover stays invisible. */
  async #evaluate(stem, values) {
    const { source, effect } = bundle.operations[stem];
    let [reply] = await this.#send(stem, values, []);
    const load = async () => ([, reply] = await this.#send(stem, values, [["SCRIPT", "LOAD", source]]));
    if (codeOf(reply) === "NOSCRIPT") await load();
    // A flush may come between the load and the call.
    while (codeOf(reply) === "NOSCRIPT" && performance.now() + PAUSE < this.#until) {
      await setTimeout(PAUSE);
      await load();
    }
    if (!codeOf(reply)) return reply;
    if (effect === "reads" || !mayHaveWritten(reply)) throw new NotExecutedError("server", reply);
    const commands = commandsAt(source, reply);
    const at = commands.length > 0 ? ` at ${commands.join(" or ")}` : "";
    throw this.ambiguous(reply, `the server stopped the script ${stem}${at}`);
  }

  /** Sends a script's call behind other commands. Each time it is made anew, for it carries a bound. */
  async #send(stem, values, before) {
    const { effect, arguments: parameters } = bundle.operations[stem];
    const takes = (argument) => parameters.some(({ name }) => name === argument);
    const { link, tag, clock: testClock, partitions, ruleArguments } = this.#engine;
    const make = (serverClock) => {
      const now = testClock?.();
      if (now === undefined) this.#history.boundBy(serverClock);
      else this.#history.boundByTestClock(now);
      const op_id = takes("op_id") ? this.id.bytes : undefined;
      const owner = { as_node: this.#identity?.node, lease_id: this.#identity?.leaseIn(this.#engine) };
      const own = { now_ms: now, op_id, bound_ms: this.#history.bound, events: partitions.events, ...owner };
      return [...before, commandOf(stem, tag, { ...ruleArguments, ...own, ...values }).map(storedOf)];
    };
    if (testClock || !takes("bound_ms")) return link.send(make(link.clock), this.#until);
    return link.sendTimed(make, effect === "noted" && this.#history.asksTime, this.#until);
  }

  ambiguous(cause, why) {
    return new AmbiguousError(this.id.ofARepeat(), cause, why);
  }
}

/**
 * Attempts until there is an answer. Once a reply was lost, a later refusal to execute says nothing of the first. If a
 * server refuses because it is not the master, the next attempt takes another connection, until an instant. Each
 * counts as an attempt. If the call `isOnce`, a lost reply ends it.
 */
async function repeat(attempt, errorOfLost, { isOnce = false, until = -Infinity } = {}) {
  let lost;
  let pause = FIRST_PAUSE;
  for (let left = ATTEMPTS - 1; left >= 0 && !(lost && isOnce) && lost?.reason !== "deadline"; left--) {
    try {
      return await attempt();
    } catch (error) {
      if (error instanceof Lost) lost = error;
      else if (isOfReplica(error.cause) && left > 0 && performance.now() + pause < until) {
        await setTimeout(pause);
        pause = Math.min(2 * pause, LONGEST_PAUSE);
      } else throw lost && !(error instanceof AmbiguousError) ? errorOfLost(lost) : error;
    }
  }
  throw errorOfLost(lost);
}
