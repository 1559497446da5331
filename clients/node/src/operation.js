import { bundle } from "./bundle.js";
import { commandOf, keyOf } from "./call.js";
import { AmbiguousError, CorruptError, NotExecutedError } from "./errors.js";
import { OperationId } from "./ids.js";
import { codeOf, Lost } from "./link.js";
import { readReply } from "./reply.js";
import { commandsAt, mayHaveWritten } from "./server-errors.js";

/** How often one call is sent at most when its connection breaks under it; the deadline ends it too. */
const ATTEMPTS = 10;
/** How often a script is loaded for one call: a flush may come between the load and the call. */
const LOADS = 16;

/** One call of a store: its deadline, its operation id, its round trips. */
export class Operation {
  #engine;
  #until;
  #id;
  #identity;

  constructor(engine, id, identity) {
    this.#engine = engine;
    this.#until = performance.now() + engine.deadline;
    this.#id = id;
    this.#identity = identity;
  }

  get id() {
    return (this.#id ??= new OperationId());
  }

  /** The node that makes the call as the owner of what it writes, if one does. */
  get identity() {
    return this.#identity;
  }

  get rules() {
    return this.#engine.rules;
  }

  /** A key of the bundle, by its name there. */
  key(name, values) {
    return keyOf(bundle.keys[name], this.#engine.tag, values);
  }

  /** The time that TIME told, unless a test set another. */
  now([seconds, micros]) {
    return this.#engine.clock?.() ?? Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
  }

  /** Runs a script, as often as its effect allows when the connection breaks under it. */
  async run(stem, values) {
    const { effect, arguments: parameters } = bundle.operations[stem];
    const takesId = parameters.some(({ name }) => name === "op_id");
    const owner = { as_node: this.#identity?.node, lease_id: this.#identity?.lease };
    const own = { now_ms: this.#engine.clock?.(), op_id: takesId ? this.id.bytes : undefined, ...owner };
    const command = commandOf(stem, this.#engine.tag, { ...own, ...values });
    const attempt = () => this.#evaluate(command, stem);
    const lost = (reason, cause) =>
      effect === "reads" ? new NotExecutedError(reason, cause) : new AmbiguousError(this.id, cause);
    return readReply(stem, await repeat(attempt, effect === "reported_once" ? 1 : ATTEMPTS, lost));
  }

  /** Sends commands that only read the key `what`, again if the connection breaks. */
  async read(what, ...commands) {
    const attempt = () => this.#engine.link.send(commands, this.#until);
    const replies = await repeat(attempt, ATTEMPTS, (reason, cause) => new NotExecutedError(reason, cause));
    for (const reply of replies) {
      if (codeOf(reply) === "WRONGTYPE") throw new CorruptError(what);
      if (codeOf(reply)) throw new NotExecutedError("server", reply);
    }
    return replies;
  }

  /** NOSCRIPT means that it was not executed, so a flushed script cache or a failover stays invisible. */
  async #evaluate(command, stem) {
    const { source, effect } = bundle.operations[stem];
    let [reply] = await this.#engine.link.send([command], this.#until);
    for (let loads = 0; codeOf(reply) === "NOSCRIPT" && loads < LOADS; loads++) {
      [, reply] = await this.#engine.link.send([["SCRIPT", "LOAD", source], command], this.#until);
    }
    if (!codeOf(reply)) return reply;
    if (effect === "reads" || !mayHaveWritten(reply)) throw new NotExecutedError("server", reply);
    throw new AmbiguousError(this.id, reply, { stem, commands: commandsAt(source, reply) });
  }
}

/** Attempts until there is an answer. Once a reply was lost, a later refusal to execute tells nothing of the first. */
async function repeat(attempt, attempts, errorOfLost) {
  let lost;
  for (let made = 0; made < attempts && lost?.reason !== "deadline"; made++) {
    try {
      return await attempt();
    } catch (error) {
      if (error instanceof Lost) lost = error;
      else throw lost ? errorOfLost(lost.reason, lost.cause) : error;
    }
  }
  throw errorOfLost(lost.reason, lost.cause);
}
