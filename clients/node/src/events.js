/** What became of sessions, read from the streams of a namespace: all partitions together, in order within each. */

import { setTimeout as after } from "node:timers/promises";
import { areSame, entriesOf, eventOf, isTheBeginning } from "./event.js";
import { CorruptError, ForbiddenError, InvalidError, NotExecutedError } from "./errors.js";
import { Lost } from "./link.js";
import { checkInteger, checkOptions, kindOf } from "./input.js";
import { codeOf } from "./server-errors.js";

/** How many entries of a partition are read at once at most, and how many of all. */
const AT_ONCE = 256;
const OF_ALL = 4096;
/** Between two attempts while a server is away: at first, each next one twice as long, and at most. */
const [FIRST_PAUSE, LONGEST_PAUSE] = [20, 500];
/** How long one look waits at most for its reply. */
const LOOK = 2000;
/** Where a reader goes on that has missed some: for so long two masters may both have taken writes, and given them times. */
const GOES_BACK = 10_000n;

/** Begins to read: a node's streams, or those of all. */
export async function eventsOf(engine, node, from, options) {
  checkOptions("options", options, ["intervalMs"]);
  const { intervalMs = 50 } = options;
  checkInteger("intervalMs", intervalMs, 1, 60_000);
  if (typeof from !== "string") throw new InvalidError("from", `is ${kindOf(from)}, must be text`);
  if (engine.partitions.events === 0) throw new InvalidError("events", "are not turned on in this namespace");
  const stream = node === undefined ? "events" : `node:${node}:events`;
  const events = new Events(engine, stream, intervalMs);
  try {
    await events.begin(from);
  } catch (error) {
    await events.close();
    throw error instanceof Lost ? new NotExecutedError(error.reason, error.cause) : error;
  }
  return events;
}

class Events {
  #engine;
  /** One connection to each server, beside those of the calls. What a server answers that is not the master does not count. */
  #servers;
  #interval;
  #parts;
  #atOnce;
  /** What was read and is not told yet, with where that was. What tells nothing is passed over. */
  #found = [];
  #isOver = false;
  #broken;
  #wake = () => {};
  /** The one who asked last waits for the one before. */
  #asked = Promise.resolve();

  constructor(engine, stream, interval) {
    this.#engine = engine;
    this.#servers = engine.servers.another();
    this.#interval = interval;
    const { tags } = engine.partitions;
    this.#parts = tags.map((tag, partition) => {
      return { partition, tag, key: `${tag}:${stream}`, next: BEGIN, told: "", due: 0, pause: FIRST_PAUSE, isBusy: false };
    });
    this.#atOnce = Math.min(AT_ONCE, Math.max(1, Math.floor(OF_ALL / tags.length)));
    engine.streams.add(this);
  }

  /** Finds out where to begin: `now`, at the `beginning`, or behind a position. */
  async begin(from) {
    const places = from === "now" || from === "beginning" ? undefined : placesOf(from, this.#parts.length);
    const until = performance.now() + this.#engine.deadlineMs;
    // Whoever may not read finds out here.
    const newest = await Promise.all(this.#parts.map((part) => this.#newest(part, until)));
    if (from === "beginning") return;
    for (const [at, place] of (places ?? newest).entries()) {
      const part = this.#parts[at];
      part.told = place;
      part.next = place === "" ? BEGIN : { kind: "behind", at: place };
    }
  }

  async #newest({ tag, key }, until) {
    const commands = [
      ["XREVRANGE", key, "+", "-", "COUNT", "1"],
      ["XRANGE", key, "-", "+", "COUNT", "1"],
    ];
    const replies = await this.#servers.at(tag).send(commands, until);
    const codes = replies.map(codeOf);
    if (codes.includes("NOPERM")) throw new ForbiddenError(["+xrange", "+xrevrange"]);
    if (codes.includes("WRONGTYPE")) throw new CorruptError("events");
    if (codes.some(Boolean)) throw new NotExecutedError("server", replies.find(codeOf));
    return entriesOf(replies[0])[0]?.id ?? "";
  }

  get position() {
    return this.#parts.map(({ told }) => told).join(",");
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  next() {
    const before = this.#asked;
    const asked = before.catch(() => {}).then(() => this.#next());
    this.#asked = asked;
    return asked;
  }

  async return() {
    await this.close();
    return { done: true, value: undefined };
  }

  async close() {
    this.#isOver = true;
    this.#wake();
    this.#engine.streams.delete(this);
    // It only reads, so there is nothing to wait for.
    this.#servers.destroy();
  }

  async #next() {
    while (!this.#isOver) {
      if (this.#broken) throw this.#broken;
      const value = this.#take();
      if (value) return { done: false, value };
      const now = performance.now();
      for (const part of this.#parts) if (!part.isBusy && part.due <= now) void this.#look(part);
      const due = Math.min(...this.#parts.map((part) => (part.isBusy ? Infinity : part.due)));
      await this.#woken(due - now);
    }
    return { done: true, value: undefined };
  }

  #take() {
    while (this.#found.length > 0) {
      const { part, at, told } = this.#found.shift();
      part.told = at;
      if (told) return told;
    }
    return undefined;
  }

  /** Waits so long, or until a look came to something. */
  async #woken(ms) {
    const over = new AbortController();
    const woken = new Promise((resolve) => (this.#wake = resolve));
    const timer = ms === Infinity ? woken : after(ms, undefined, { signal: over.signal }).catch(() => {});
    await Promise.race([woken, timer]);
    over.abort();
  }

  /** Reads what is new in a stream. Never throws. */
  async #look(part) {
    part.isBusy = true;
    let entries;
    // Where some were missed it looks again at once, and tells it only then: what is told while somebody reads the sessions anew
    // is behind what was read here, and nothing of it is missed in silence.
    do entries = await this.#read(part);
    while (entries && !this.#heed(part, entries));
    this.#noteLook(part, entries);
    part.isBusy = false;
    this.#wake();
  }

  /** The entries from where it goes on; undefined: they cannot be read now. */
  async #read(part) {
    const range = ["XRANGE", part.key, part.next.at ?? "-", "+", "COUNT", String(this.#atOnce + 1)];
    try {
      const until = performance.now() + Math.min(this.#engine.deadlineMs, LOOK);
      const [reply] = await this.#servers.at(part.tag).send([range], until);
      return entriesOf(reply);
    } catch (error) {
      if (!(error instanceof Lost || error instanceof NotExecutedError)) this.#broken = error;
    }
    return undefined;
  }

  #noteLook(part, entries) {
    const now = performance.now();
    if (!entries) {
      part.due = now + part.pause;
      part.pause = Math.min(2 * part.pause, LONGEST_PAUSE);
      return;
    }
    part.pause = FIRST_PAUSE;
    part.due = entries.length > this.#atOnce ? now : now + this.#interval;
  }

  /** Takes what was read. False: some were missed, so that it goes on elsewhere. */
  #heed(part, entries) {
    const news = newsOf(part.next, entries);
    if (!news) {
      part.next = afterAGap(part.next);
      return false;
    }
    if (part.next.kind === "here") {
      if (entries.length === 0) part.next = BEGIN;
      this.#found.push({ part, at: part.next.at ?? "", told: { what: "lagged", partition: part.partition } });
    }
    for (const entry of news) {
      part.next = { kind: "behind", at: entry.id, fields: entry.fields };
      this.#found.push({ part, at: entry.id, told: eventOf(entry) });
    }
    return true;
  }
}

/**
 * Where a reader goes on: at the first entry, before which nothing was if that says so; `behind` one, if it is still there
 * and tells what was read, or else some were missed; or `here`, for some were missed.
 */
const BEGIN = { kind: "begin" };

/** Of entries that were read from somewhere on, those that are news; undefined: some were missed. */
function newsOf({ kind, at, fields }, entries) {
  const [first, ...others] = entries;
  if (kind === "begin") return !first || isTheBeginning(first) ? entries : undefined;
  if (kind === "here") return entries;
  return first?.id === at && (!fields || areSame(fields, first.fields)) ? others : undefined;
}

/** Where to go on after some were missed. */
function afterAGap({ at }) {
  const ms = BigInt(at?.split("-")[0] ?? 0);
  return { kind: "here", at: `${ms > GOES_BACK ? ms - GOES_BACK : 0n}-0` };
}

/** The entries that a position names, of each partition; empty: none. */
function placesOf(position, count) {
  const places = position.split(",");
  if (places.length !== count || !places.every((place) => /^(\d{1,20}-\d{1,20})?$/.test(place))) {
    throw new InvalidError("from", `is not a position in ${count} partitions`);
  }
  return places.map((place) => place.split("-").map((part) => part.replace(/^0+(?=\d)/, "")).join("-"));
}
