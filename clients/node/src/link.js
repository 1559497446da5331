import { once } from "node:events";
import { setImmediate } from "node:timers/promises";
import { AbortError, ClientClosedError, ClientOfflineError, ErrorReply, RESP_TYPES } from "@redis/client";
import { NotExecutedError } from "./errors.js";
import { ServerClock } from "./server-clock.js";
import { Silence } from "./silence.js";

/** Ids and records are bytes until they are read. */
const BYTES = { [RESP_TYPES.BLOB_STRING]: Buffer, [RESP_TYPES.SIMPLE_STRING]: Buffer };

/** A command was sent, and its reply did not come: `reason` is connection or deadline. */
export class Lost {
  constructor(reason, cause) {
    this.reason = reason;
    this.cause = cause;
  }
}

/**
 * Sends commands over one connection that any number of calls share, and tells what became of them. Where that leads nowhere,
 * it makes another.
 */
export class Link {
  #client;
  #silence;
  /** Why there is no connection. */
  #trouble;
  #clock = new ServerClock();
  /** The aborts of commands that were made by what is known of the clock. */
  #timed = new Set();
  /** The aborts of all commands that are on their way. */
  #sending = new Set();
  #calls = new Set();
  #isClosed = false;

  constructor(client) {
    this.#use(client);
  }

  #use(client) {
    const silence = new Silence();
    this.#client = client;
    this.#silence = silence;
    // Any number of calls wait for it to be ready.
    client.setMaxListeners(0);
    client.on("connect", () => silence.connected());
    client.on("error", (error) => {
      silence.disconnected();
      if (client === this.#client) this.#trouble = error;
    });
    client.on("ready", () => {
      silence.ready();
      this.#trouble = undefined;
      // The connection may lead to another server. What was written has failed by now.
      this.#clock.forget();
      this.#timed.forEach((aborts) => aborts.forEach((abort) => abort.abort()));
    });
  }

  /** Makes another connection where a call had no answer in time, and this one is silent. */
  #renewIfSilent() {
    if (this.#isClosed || !this.#silence.isTooLong) return;
    const silent = this.#client;
    this.#use(silent.duplicate());
    this.#trouble = new Error("the connection was silent");
    this.begin();
    // What was not written goes over the new one.
    this.#sending.forEach((aborts) => aborts.forEach((abort) => abort.abort()));
    silent.destroy();
  }

  /** The same server, over a connection of its own. */
  another() {
    return new Link(this.#client.duplicate()).begin();
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
      if (asks || !this.#client.isReady || !this.#clock.isKnown) await this.#askTime(until);
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
    const left = until - performance.now();
    if (left <= 0) throw new NotExecutedError("deadline");
    const options = commands.map((_, at) => ({ typeMapping: BYTES, abortSignal: aborts[at]?.signal }));
    const sent = Promise.allSettled(commands.map((command, at) => this.#reply(command, options[at])));
    const results = await within(left, sent);
    if (results) return this.#answers(commands, results);

    // The abort reaches only what was not written yet, and at once.
    aborts.forEach((abort) => abort.abort());
    const late = await Promise.race([sent, setImmediate()]);
    if (!late) throw new Lost("deadline");
    if (late.every(({ reason }) => reason instanceof AbortError)) throw new NotExecutedError("deadline", this.#trouble);
    return this.#answers(commands, late);
  }

  async #reply(command, options) {
    const silence = this.#silence;
    silence.awaits();
    try {
      const reply = await this.#client.sendCommand(command, options);
      silence.heard();
      return reply;
    } catch (error) {
      if (error instanceof ErrorReply) silence.heard();
      throw error;
    } finally {
      silence.awaitsNoMore();
    }
  }

  #answers(commands, results) {
    const answers = results.map(answerOf);
    commands.forEach(([command], at) => {
      if (command === "TIME" && Array.isArray(answers[at])) this.#clock.saw(answers[at]);
    });
    return answers;
  }

  /** Connects, again and again until the deadline. */
  async open(until) {
    const connected = this.#client.connect().then(() => true);
    // Once the deadline has passed, nobody waits for it.
    connected.catch(() => {});
    if (!(await within(until - performance.now(), connected))) throw new NotExecutedError("connection", this.#trouble);
  }

  /** Calls on their way end by themselves, at their deadlines at the latest, unless there is no connection to end on. */
  async close() {
    this.#isClosed = true;
    // What a call has given up is waited for by nobody.
    if (this.#client.isReady) await Promise.race([this.#client.close(), Promise.allSettled(this.#calls)]);
    this.#client.destroy();
  }

  /** Ends the connection, and with it whatever is on its way. */
  destroy() {
    this.#isClosed = true;
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
  if (reason instanceof ErrorReply) return reason;
  // Of a node of a cluster, which is not waited for.
  if (reason instanceof ClientOfflineError) throw new NotExecutedError("connection", reason);
  if (reason instanceof ClientClosedError) throw new NotExecutedError("closed", reason);
  throw new Lost("connection", reason);
}

/** Whether commands were aborted before they were written, and time is left. */
function isUnwritten(error) {
  return error instanceof Lost && error.cause instanceof AbortError;
}

function abortsOf(commands) {
  return commands.map(() => new AbortController());
}

/** The code that a server's error begins with, such as NOSCRIPT; undefined for any other reply. */
export function codeOf(reply) {
  return reply instanceof ErrorReply ? reply.message.split(" ", 1)[0] : undefined;
}
