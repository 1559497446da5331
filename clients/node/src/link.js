import { setImmediate } from "node:timers/promises";
import { AbortError, ClientClosedError, ErrorReply, RESP_TYPES } from "@redis/client";
import { NotExecutedError } from "./errors.js";

/** Ids and records are bytes until they are read. */
const BYTES = { [RESP_TYPES.BLOB_STRING]: Buffer, [RESP_TYPES.SIMPLE_STRING]: Buffer };

/** A command was sent, and its reply did not come: `reason` is connection or deadline. */
export class Lost {
  constructor(reason, cause) {
    this.reason = reason;
    this.cause = cause;
  }
}

/** Sends commands over one connection that any number of calls share, and tells what became of them. */
export class Link {
  #client;
  /** Why there is no connection. */
  #trouble;

  constructor(client) {
    this.#client = client;
    client.on("error", (error) => (this.#trouble = error));
    client.on("ready", () => (this.#trouble = undefined));
  }

  /**
   * The replies to commands that are sent together, each a value or the server's `ErrorReply`. Throws `Lost` where
   * they may have been executed, `NotExecutedError` where they were not: while there is no connection they wait for
   * one, until the deadline, an instant of `performance.now()`.
   */
  async send(commands, until) {
    const left = until - performance.now();
    if (left <= 0) throw new NotExecutedError("deadline");
    const aborts = commands.map(() => new AbortController());
    const options = aborts.map(({ signal }) => ({ typeMapping: BYTES, abortSignal: signal }));
    const sent = Promise.allSettled(commands.map((command, at) => this.#client.sendCommand(command, options[at])));
    const results = await within(left, sent);
    if (results) return results.map(answerOf);

    // The abort reaches only what was not written yet, and at once.
    aborts.forEach((abort) => abort.abort());
    const late = await Promise.race([sent, setImmediate()]);
    if (!late) throw new Lost("deadline");
    if (late.every(({ reason }) => reason instanceof AbortError)) throw new NotExecutedError("deadline", this.#trouble);
    return late.map(answerOf);
  }

  /** Connects, again and again until the deadline. */
  async open(until) {
    const connected = this.#client.connect().then(() => true);
    // Once the deadline has passed, nobody waits for it.
    connected.catch(() => {});
    if (!(await within(until - performance.now(), connected))) throw new NotExecutedError("connection", this.#trouble);
  }

  /** Calls on their way end by themselves, unless there is no connection to end on. */
  async close() {
    if (this.#client.isReady) await this.#client.close();
    else if (this.#client.isOpen) this.#client.destroy();
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
  if (reason instanceof ClientClosedError) throw new NotExecutedError("closed", reason);
  throw new Lost("connection", reason);
}

/** The code that a server's error begins with, such as NOSCRIPT; undefined for any other reply. */
export function codeOf(reply) {
  return reply instanceof ErrorReply ? reply.message.split(" ", 1)[0] : undefined;
}
