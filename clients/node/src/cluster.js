/**
 * The nodes of a cluster: which is sent what, and what is sent again elsewhere. A client of node-redis for each, not its
 * cluster client: so what becomes of a command is judged here as it is with one server, and nothing is sent twice but what a
 * node says that it did not execute.
 */

import { setTimeout } from "node:timers/promises";
import { Epochs } from "./epochs.js";
import { NotExecutedError } from "./errors.js";
import { Lost } from "./link.js";
import { SLOTS, slotOf } from "./partitions.js";
import { ServerClock } from "./server-clock.js";
import { codeOf } from "./server-errors.js";
import { epochOf, isKeyless, ownersOf, redirectOf } from "./slots.js";

/** How long the map is taken for true. */
const FRESH = 30_000;
/** Between two attempts at what is not served: at first, each next one twice as long, and at most. */
const [FIRST_PAUSE, LONGEST_PAUSE] = [20, 250];
/** How long a node that is not connected is waited for, before the map is read again. */
const PATIENCE = 250;
/** How long a node has to tell the map. */
const TO_TELL = 1000;

const UNKNOWN_CLOCK = new ServerClock();
const ASKING = ["ASKING"];

export class Cluster {
  #connect;
  #seeds;
  #owners = Array(SLOTS).fill(undefined);
  #links = new Map();
  #epochs = new Epochs();
  #readAt = -Infinity;
  #reading;
  #isClosed = false;

  /** `connect` makes a link to an address. */
  constructor(seeds, connect) {
    this.#seeds = seeds;
    this.#connect = connect;
  }

  /** The same nodes, over connections of its own. */
  another() {
    return new Cluster(this.#seeds, this.#connect);
  }

  /** What sends the commands of a tag. */
  at(tag) {
    return new Route(this, tag);
  }

  /** One tag of each of the servers that have some. */
  homes(tags) {
    const homes = new Map(tags.toReversed().map((tag) => [nameOf(this.#owners[slotOf(tag)]), tag]));
    return [...homes.values()];
  }

  /** Reads the map at some node, until the deadline. */
  async open(until) {
    while (this.#epochs.newest === 0) {
      if (performance.now() >= until) throw new NotExecutedError("connection");
      await this.#read(until);
      if (this.#epochs.newest === 0) await setTimeout(FIRST_PAUSE);
    }
  }

  async close() {
    await Promise.all(this.#letGo().map(({ link }) => link.close()));
  }

  /** Ends the connections, and with them whatever is on its way. */
  destroy() {
    this.#letGo().forEach(({ link }) => link.destroy());
  }

  #letGo() {
    const links = [...this.#links.values()];
    this.#links.clear();
    this.#isClosed = true;
    return links;
  }

  /** The owner of a tag's slot, and the link to it. */
  async owner(tag, until) {
    if (performance.now() - this.#readAt > FRESH) await this.#read(until);
    return this.node(this.#owners[slotOf(tag)] ?? this.#seeds[Math.floor(Math.random() * this.#seeds.length)]);
  }

  /** The link to the owner of a tag's slot, as far as it is known. */
  known(tag) {
    return this.#links.get(nameOf(this.#owners[slotOf(tag)]))?.link;
  }

  node(address) {
    const name = nameOf(address);
    let node = this.#links.get(name);
    if (!node) {
      if (this.#isClosed) throw new NotExecutedError("closed");
      node = { address, link: this.#connect(address) };
      this.#links.set(name, node);
    }
    return node;
  }

  /** The map may be out of date. */
  suspect() {
    this.#readAt = -Infinity;
  }

  /** Notes another owner of a tag's slot, and tells whether that is news. */
  move(tag, address) {
    const slot = slotOf(tag);
    if (nameOf(this.#owners[slot]) === nameOf(address)) return false;
    this.#owners[slot] = address;
    this.suspect();
    return true;
  }

  /** However many calls ask for it, one reads. */
  #read(until) {
    this.#reading ??= this.#readOnce(until).finally(() => (this.#reading = undefined));
    return this.#reading;
  }

  /** Reads the map at the nodes in turn, until one knows it that is not behind what was known. */
  async #readOnce(until) {
    const known = new Map([...this.#owners.filter(Boolean), ...this.#seeds].map((address) => [nameOf(address), address]));
    const nodes = Array.from(known.values(), (address) => this.node(address));
    const told = [];
    // Those that are connected come first.
    for (const { address, link } of nodes.sort((one, other) => Number(other.link.isReady) - Number(one.link.isReady))) {
      if (!(await link.ready(Math.min(PATIENCE, until - performance.now())))) continue;
      const [info, slots] = await ask(link, Math.min(until, performance.now() + TO_TELL));
      const epoch = epochOf(info);
      if (codeOf(info) || !Array.isArray(slots) || epoch === undefined) continue;
      told.push({ epoch, owners: ownersOf(slots, address) });
      if (epoch >= this.#epochs.newest) break;
    }
    const [newest] = told.sort((one, other) => other.epoch - one.epoch);
    if (newest && this.#epochs.admit(newest.epoch, told.length === nodes.length ? "all" : "some", performance.now())) {
      this.#owners = newest.owners;
      this.#readAt = performance.now();
      await this.#forget();
      return;
    }
    // None did. What is known is tried meanwhile.
    this.#readAt = performance.now() - FRESH + LONGEST_PAUSE;
  }

  /** Lets go of nodes that own nothing and are not connected. */
  async #forget() {
    const used = new Set([...this.#owners, ...this.#seeds].map(nameOf));
    const gone = [...this.#links].filter(([name, { link }]) => !used.has(name) && !link.isReady);
    gone.forEach(([name]) => this.#links.delete(name));
    await Promise.all(gone.map(([, { link }]) => link.close()));
  }
}

async function ask(link, until) {
  try {
    const commands = [
      ["CLUSTER", "INFO"],
      ["CLUSTER", "SLOTS"],
    ];
    return await link.send(commands, until);
  } catch (error) {
    if (error instanceof Lost || error instanceof NotExecutedError) return [];
    throw error;
  }
}

function nameOf(address) {
  return address && `${address.host}:${address.port}`;
}

/** Sends commands whose keys have one tag, as a link to one server does. */
class Route {
  #cluster;
  #tag;

  constructor(cluster, tag) {
    this.#cluster = cluster;
    this.#tag = tag;
  }

  /** What is known of the clock of the server that has the keys. */
  get clock() {
    return this.#cluster.known(this.#tag)?.clock ?? UNKNOWN_CLOCK;
  }

  async send(commands, until) {
    const answers = [];
    let places = [...commands.keys()];
    return this.#follow(until, async (link, address, isAsked) => {
      if (!isAsked) places = [...commands.keys()];
      const sent = await link.send(askingFor(places.map((place) => commands[place]), isAsked), until);
      const got = isAsked ? withoutAsking(places.map((place) => commands[place]), sent) : sent;
      places.forEach((place, at) => (answers[place] = got[at]));
      const redirects = got.map((answer) => redirectOf(answer, address));
      // The others are not there yet; but the time is that of the server that has the key.
      places = places.filter((place, at) => redirects[at]?.kind === "ask" || isKeyless(commands[place]));
      return { answers, redirects };
    });
  }

  /** The replies of the slot's owner, whatever keys have left it. */
  async sendToOwner(commands, until) {
    return this.#follow(until, async (link, address) => {
      const answers = await link.send(commands, until);
      return { answers, redirects: answers.map((answer) => redirectOf(answer, address)).filter(isOfOwner) };
    });
  }

  /** All or none: where some keys are here and some there, the transaction waits. */
  async sendWhole(commands, until) {
    return this.#follow(until, async (link, address, isAsked) => {
      const sent = await link.sendWhole(isAsked ? [ASKING, ...commands] : commands, until);
      const answers = isAsked ? sent.slice(1) : sent;
      const redirects = answers.map((answer) => redirectOf(answer, address));
      const asked = redirects.filter((redirect) => redirect?.kind === "ask").length;
      const isSplit = asked > 0 && asked < commands.filter((command) => !isKeyless(command)).length;
      return { answers, redirects: isSplit ? [{ kind: "later" }] : redirects };
    });
  }

  async sendTimed(make, asks, until) {
    return this.#follow(until, async (link, address, isAsked) => {
      let commands;
      const made = (clock) => askingFor((commands = make(clock)), isAsked);
      const sent = await link.sendTimed(made, asks, until);
      const answers = isAsked ? withoutAsking(commands, sent) : sent;
      return { answers, redirects: answers.map((answer) => redirectOf(answer, address)) };
    });
  }

  /** Sends where the slot is, or where a node says, or again, until the deadline. */
  async #follow(until, attempt) {
    let asked;
    let pause = FIRST_PAUSE;
    for (;;) {
      const node = asked ? this.#cluster.node(asked) : await this.#cluster.owner(this.#tag, until);
      const outcome = await this.#attempt(node, until, attempt, asked !== undefined);
      const { answers, redirects = [] } = outcome;
      const moved = redirects.find((redirect) => redirect?.kind === "moved");
      const ask = redirects.find((redirect) => redirect?.kind === "ask");
      const isLater = outcome.failed || redirects.some((redirect) => redirect?.kind === "later");
      asked = !isLater && !moved ? ask?.address : undefined;
      if (!moved && !ask && !isLater) return answers;
      const waits = isLater || (moved && !this.#cluster.move(this.#tag, moved.address));
      if (outcome.failed || answers.some((answer) => codeOf(answer) === "CLUSTERDOWN")) this.#cluster.suspect();
      const isLast = performance.now() + (waits ? pause : 0) >= until;
      if (waits && !isLast) await setTimeout(pause);
      // The timer may have come late.
      if (isLast || performance.now() >= until) {
        if (outcome.failed) throw outcome.failed;
        return answers;
      }
      if (waits) pause = Math.min(2 * pause, LONGEST_PAUSE);
    }
  }

  /** One that was not sent has `failed`. */
  async #attempt({ address, link }, until, attempt, isAsked) {
    const left = until - performance.now();
    if (!(await link.ready(Math.min(left, PATIENCE)))) return { failed: new NotExecutedError("connection", link.trouble) };
    try {
      return await attempt(link, address, isAsked);
    } catch (error) {
      if (error instanceof Lost) this.#cluster.suspect();
      if (error instanceof NotExecutedError && error.reason === "connection") return { failed: error };
      throw error;
    }
  }
}

/** Whether it says that the slot has another owner, or none that serves. */
function isOfOwner(redirect) {
  return redirect?.kind === "moved" || (redirect?.kind === "later" && redirect.code !== "TRYAGAIN");
}

/** A node that takes a slot in serves its keys only to who says that another one sent him. */
function askingFor(commands, isAsked) {
  if (!isAsked) return commands;
  return commands.flatMap((command) => (isKeyless(command) ? [command] : [ASKING, command]));
}

/** The answers to the commands alone. */
function withoutAsking(commands, answers) {
  let at = 0;
  return commands.map((command) => {
    at += isKeyless(command) ? 1 : 2;
    return answers[at - 1];
  });
}
