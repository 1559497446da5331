import { once } from "node:events";
import { setTimeout as after, setImmediate } from "node:timers/promises";
import { AbortError, ClientClosedError, ClientOfflineError, RESP_TYPES } from "@redis/client";
import { ForbiddenError, NotExecutedError } from "./errors.js";
import { Role } from "./role.js";
import { ServerClock } from "./server-clock.js";
import { codeOf, isErrorReply, isOf, isOfReplica } from "./server-errors.js";
import { Silence } from "./silence.js";

/** Ids and records are bytes until they are read. */
const BYTES = {
  [RESP_TYPES.BLOB_STRING]: Buffer,
  [RESP_TYPES.SIMPLE_STRING]: Buffer,
  [RESP_TYPES.VERBATIM_STRING]: Buffer,
};
/** How many commands wait at most for their replies: beyond, a server that is slow would fill the memory here. */
const DEFAULT_WAITING = 10_000;
/** Between two connections to a server that is not the master: at first, each next one twice as long, and at most. */
const [FIRST_PAUSE, LONGEST_PAUSE] = [20, 500];

/** A command was sent, and its reply did not come: `reason` is connection or deadline. */
export class Lost {
  constructor(reason, cause) {
    this.reason = reason;
    this.cause = cause;
  }
}

/** A connection, with what is known of it. */
class Wire {
  silence = new Silence();
  role = new Role();
  /** How often it was made. */
  made = 0;
  /** How many calls are on their way over it. */
  calls = 0;

  constructor(client) {
    this.client = client;
  }
}

/**
 * Sends commands over one connection that any number of calls share, and tells what became of them. Where that leads nowhere,
 * or to a server that is not the master, it makes another.
 */
export class Link {
  #limits;
  #wire;
  /** The connections that carry no new calls: each is open until its last call has ended. */
  #left = new Set();
  /** Why there is no connection. */
  #trouble;
  /** How long to wait for a master, since the last server was none. */
  #pause = 0;
  #clock = new ServerClock();
  /** The aborts of commands that were made by what is known of the clock. */
  #timed = new Set();
  /** The aborts of all commands that are on their way. */
  #sending = new Set();
  #calls = new Set();
  #isClosed = false;

  /** `maxWaiting` is how many commands may wait for replies, `asksRole` whether only a master's answers count. */
  constructor(client, { maxWaiting = DEFAULT_WAITING, asksRole = true } = {}) {
    this.#limits = { maxWaiting, asksRole };
    this.#use(client);
  }

  #use(client) {
    const wire = new Wire(client);
    this.#wire = wire;
    // Any number of calls wait for it to be ready.
    client.setMaxListeners(0);
    client.on("connect", () => {
      wire.made += 1;
      wire.silence.connected();
    });
    client.on("error", (error) => {
      wire.silence.disconnected();
      if (wire === this.#wire) this.#trouble = error;
      // It would connect again, for nobody.
      if (this.#left.has(wire)) this.#end(wire);
    });
    client.on("ready", () => {
      wire.silence.ready();
      wire.role.forget();
      this.#trouble = undefined;
      // The connection may lead to another server. What was written has failed by now.
      this.#clock.forget();
      this.#timed.forEach((aborts) => aborts.forEach((abort) => abort.abort()));
    });
  }

  /** Makes another connection where a call had no answer in time, and this one is silent. */
  #renewIfSilent() {
    if (this.#wire.silence.isTooLong) this.#renew(this.#wire, new Error("the connection was silent"));
  }

  /** Makes another connection in the place of one that leads nowhere. */
  #renew(wire, trouble) {
    if (this.#replace(wire, trouble)) wire.client.destroy();
  }

  /** The same where the server is not the master, but answers: the other calls on their way get its answers, too. */
  #renewOnceAnswered(wire, trouble) {
    if (!this.#replace(wire, trouble)) return;
    this.#left.add(wire);
    if (wire.calls === 0 || !wire.client.isReady) this.#end(wire);
  }

  /** Takes another connection for all calls from now on, and tells whether it did. */
  #replace(wire, trouble) {
    if (this.#isClosed || wire !== this.#wire) return false;
    this.#use(wire.client.duplicate());
    this.#trouble = trouble;
    this.begin();
    // The new connection carries what was not written.
    this.#sending.forEach((aborts) => aborts.forEach((abort) => abort.abort()));
    return true;
  }

  /** Ends a connection that carries no new calls. */
  #end(wire) {
    this.#left.delete(wire);
    wire.client.destroy();
  }

  get #client() {
    return this.#wire.client;
  }

  /** The same server, over a connection of its own. */
  another() {
    return new Link(this.#client.duplicate(), this.#limits).begin();
  }

  /** What sends the commands of a tag: all are at this server. */
  at() {
    return this;
  }

  /** One tag of each of the servers that have some. */
  homes([tag]) {
    return [tag];
  }

  get isReady() {
    return this.#client.isReady;
  }

  /** Why there is no connection. */
  get trouble() {
    return this.#trouble;
  }

  /** Waits for a connection, no longer than that, and tells whether there is one. */
  async ready(ms) {
    if (this.#client.isReady) return true;
    const abort = new AbortController();
    const isReady = once(this.#client, "ready", { signal: abort.signal }).then(
      () => true,
      () => false,
    );
    const found = await within(Math.max(ms, 0), isReady);
    abort.abort();
    if (!found) this.#renewIfSilent();
    return found === true;
  }

  /** Connects beside whoever waits, again and again. */
  begin() {
    this.#client.connect().catch(() => {});
    return this;
  }

  /** What is known of the server's clock. */
  get clock() {
    return this.#clock;
  }

  /**
   * The same as `send` of commands that are made by what is known of the clock of the server that they go to. That is asked
   * for its time before where nothing is known of it, or where `asks` says so.
   */
  async sendTimed(make, asks, until) {
    for (;;) {
      if (asks) await this.#askTime(until);
      // A connection that was made anew meanwhile may lead to another server, whose time nobody told.
      while (!this.#client.isReady || !this.#clock.isKnown) await this.#askTime(until);
      const commands = make(this.#clock);
      const aborts = abortsOf(commands);
      this.#timed.add(aborts);
      try {
        return await this.#send(commands, aborts, until);
      } catch (error) {
        // Made by the clock of an earlier connection, and not written to it.
        if (!isUnwritten(error)) throw error;
      } finally {
        this.#timed.delete(aborts);
      }
    }
  }

  /** Nothing else is sent before the answer, so whatever goes wrong, the call was not executed. */
  async #askTime(until) {
    for (;;) {
      try {
        const [time] = await this.send([["TIME"]], until);
        if (codeOf(time)) throw new NotExecutedError("server", time);
        return;
      } catch (error) {
        if (!(error instanceof Lost)) throw error;
        if (error.reason === "deadline") throw new NotExecutedError(error.reason, error.cause);
      }
    }
  }

  /**
   * The replies to commands that are sent together, each a value or the server's `ErrorReply`. Throws `Lost` where
   * they may have been executed, `NotExecutedError` where they were not: while there is no connection they wait for
   * one, until the deadline, an instant of `performance.now()`.
   */
  async send(commands, until) {
    for (;;) {
      try {
        return await this.#send(commands, abortsOf(commands), until);
      } catch (error) {
        if (!isUnwritten(error)) throw error;
      }
    }
  }

  /** The same as `send`: this server owns all keys. */
  sendToOwner(commands, until) {
    return this.send(commands, until);
  }

  /** The same of commands of which all or none are sent, as long as the connection lasts. */
  async sendWhole(commands, until) {
    return this.#send(commands, [], until);
  }

  async #send(commands, aborts, until) {
    const call = this.#sendBy(commands, aborts, until);
    this.#sending.add(aborts);
    this.#calls.add(call);
    try {
      return await call;
    } catch (error) {
      const isLate = (error instanceof Lost || error instanceof NotExecutedError) && error.reason === "deadline";
      if (isLate) this.#renewIfSilent();
      throw error;
    } finally {
      this.#sending.delete(aborts);
      this.#calls.delete(call);
    }
  }

  async #sendBy(commands, aborts, until) {
    if (this.#isClosed) throw new NotExecutedError("closed");
    if (until <= performance.now()) throw new NotExecutedError("deadline");
    const wire = this.#wire;
    const { awaited } = wire.silence;
    if (awaited > 0 && awaited + commands.length > this.#limits.maxWaiting) throw new NotExecutedError("busy");
    wire.calls += 1;
    try {
      return await this.#sendOver(wire, commands, aborts, until);
    } finally {
      wire.calls -= 1;
      if (wire.calls === 0 && this.#left.has(wire)) this.#end(wire);
    }
  }

  async #sendOver(wire, commands, aborts, until) {
    const sentAt = performance.now();
    // In front of what it is asked for, in one pipeline.
    const asked = this.#askRole(wire);
    const options = commands.map((_, at) => ({ typeMapping: BYTES, timeout: 0, abortSignal: aborts[at]?.signal }));
    const sent = Promise.allSettled(commands.map((command, at) => this.#reply(wire, command, options[at])));
    const results = await within(until - sentAt, sent);
    if (results) return this.#heard(wire, commands, results, { sentAt, asked, until });

    // The abort reaches only what was not written yet, and at once.
    aborts.forEach((abort) => abort.abort());
    const late = await Promise.race([sent, setImmediate()]);
    if (!late) throw new Lost("deadline");
    if (late.every(({ reason }) => isOf(reason, AbortError))) throw new NotExecutedError("deadline", this.#trouble);
    return this.#heard(wire, commands, late, { sentAt, asked, until });
  }

  /** The answers, once it is clear that they count; a time that one of them tells is noted. */
  async #heard(wire, commands, results, sending) {
    const answers = await this.#counting(wire, results.map(answerOf), sending);
    // What is sent next goes to whoever is the master by then.
    const refused = answers.find(isOfReplica);
    if (refused && this.#limits.asksRole) this.#renewOnceAnswered(wire, refused);
    // The new connection may lead to another server, whose time is another.
    if (wire !== this.#wire) return answers;
    commands.forEach(([command], at) => {
      if (command === "TIME" && Array.isArray(answers[at])) this.#clock.saw(answers[at]);
    });
    return answers;
  }

  /** Asks for the role of the server where that is due. */
  #askRole(wire) {
    if (!this.#limits.asksRole || !wire.client.isReady) return undefined;
    const sentAt = performance.now();
    const question = wire.role.questionAt(sentAt);
    if (!question) return undefined;
    const heard = (answer) => wire.role.heard(question, answer, sentAt);
    return this.#reply(wire, question, { typeMapping: BYTES, timeout: 0 }).then(heard, (error) => {
      if (isErrorReply(error)) heard(error);
    });
  }

  /** Answers of a server that said lately that it is the master; an error is one of any server. */
  async #counting(wire, answers, { sentAt, asked, until }) {
    if (!this.#limits.asksRole || codeOf(answers.at(-1))) return answers;
    const { role, made } = wire;
    if (asked) await within(until - performance.now(), asked);
    while (!role.countsFor(sentAt) && !role.trouble) {
      const left = until - performance.now();
      if (left <= 0) throw new Lost("deadline");
      if (made !== wire.made || wire !== this.#wire) throw new Lost("connection", this.#trouble);
      // An answer may come before the client takes its connection for ready.
      const isReady = wire.client.isReady || once(wire.client, "ready").catch(() => {});
      await within(left, isReady === true ? (this.#askRole(wire) ?? setImmediate()) : isReady);
    }
    if (!role.trouble) {
      this.#pause = 0;
      return answers;
    }
    await this.#leave(wire, until);
    throw new Lost("connection", role.trouble);
  }

  /** Connects anew, to whoever is the master by now, and waits a while for that. */
  async #leave(wire, until) {
    // However many calls heard of it, that is one server.
    if (wire === this.#wire) this.#pause = Math.min(Math.max(2 * this.#pause, FIRST_PAUSE), LONGEST_PAUSE);
    this.#renewOnceAnswered(wire, wire.role.trouble);
    await after(Math.max(0, Math.min(this.#pause, until - performance.now())));
  }

  async #reply({ client, silence }, command, options) {
    silence.awaits();
    try {
      const reply = await client.sendCommand(command, options);
      silence.heard();
      return reply;
    } catch (error) {
      if (isErrorReply(error)) silence.heard();
      throw error;
    } finally {
      silence.awaitsNoMore();
    }
  }

  /** Connects to a master, again and again until the deadline. */
  async open(until) {
    const connected = this.#client.connect().then(() => true);
    // Once the deadline has passed, nobody waits for it.
    connected.catch(() => {});
    if (!(await within(until - performance.now(), connected))) throw new NotExecutedError("connection", this.#trouble);
    await this.#findMaster(until);
    if (this.#wire.role.isUntold) throw new ForbiddenError(["+role"]);
  }

  async #findMaster(until) {
    let trouble;
    for (;;) {
      try {
        await this.send([["PING"]], until);
        return;
      } catch (error) {
        // The time may have passed just before this was sent: then the attempt before tells why.
        const isLate = error.reason === "deadline";
        if (!(error instanceof Lost || isLate)) throw error;
        trouble = error.cause ?? trouble;
        if (isLate || performance.now() >= until) throw new NotExecutedError("connection", trouble);
      }
    }
  }

  /** Calls on their way end by themselves, at their deadlines at the latest, unless there is no connection to end on. */
  async close() {
    this.#isClosed = true;
    // What a call has given up is waited for by nobody.
    if (this.#client.isReady) await Promise.allSettled(this.#calls);
    this.destroy();
  }

  /** Ends the connections, and with them whatever is on its way. */
  destroy() {
    this.#isClosed = true;
    this.#left.forEach((wire) => this.#end(wire));
    this.#client.destroy();
  }
}

/** What a promise resolves to; undefined when the time is over first. */
async function within(ms, promise) {
  let timer;
  const over = new Promise((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  try {
    return await Promise.race([promise, over]);
  } finally {
    clearTimeout(timer);
  }
}

function answerOf({ status, value, reason }) {
  if (status === "fulfilled") return value;
  if (isErrorReply(reason)) return reason;
  // Of a node of a cluster, which is not waited for.
  if (isOf(reason, ClientOfflineError)) throw new NotExecutedError("connection", reason);
  if (isOf(reason, ClientClosedError)) throw new NotExecutedError("closed", reason);
  throw new Lost("connection", reason);
}

/** Whether commands were aborted before they were written, and time is left. */
function isUnwritten(error) {
  return error instanceof Lost && isOf(error.cause, AbortError);
}

function abortsOf(commands) {
  return commands.map(() => new AbortController());
}
