/** The slots of a cluster, as a node tells them, and what a node says that does not serve one. */

import { codeOf } from "./server-errors.js";
import { SLOTS } from "./partitions.js";

const LATER = ["TRYAGAIN", "CLUSTERDOWN", "LOADING", "MASTERDOWN"];
/** What no node refuses for its slots. */
const KEYLESS = ["TIME", "MULTI", "EXEC", "SCRIPT"];

export function isKeyless([name]) {
  return KEYLESS.includes(name);
}

/** Of an answer: `moved` or `ask` with the address of another node, `later`, or undefined: it is served. */
export function redirectOf(answer, { host }) {
  const code = codeOf(answer);
  if (LATER.includes(code)) return { kind: "later", code };
  if (code !== "MOVED" && code !== "ASK") return undefined;
  const [, , place] = answer.message.split(" ");
  const [, name, port] = /^(.*):(\d+)$/.exec(place);
  return { kind: code.toLowerCase(), address: { host: name || host, port: Number(port) } };
}

/** The newest epoch that a node knows of; undefined where it knows of no cluster that serves. */
export function epochOf(info) {
  const text = String(info);
  return /^cluster_state:ok\r?$/m.test(text) ? Number(/^cluster_current_epoch:(\d+)/m.exec(text)?.[1]) : undefined;
}

/** For each slot its owner, as a node has it. One whose address the node does not know is nobody's. */
export function ownersOf(ranges, { host: own }) {
  const owners = Array(SLOTS).fill(undefined);
  for (const [first, last, [host, port]] of ranges) {
    const name = host === null ? "" : String(host);
    if (name !== "?") owners.fill({ host: name || own, port }, first, last + 1);
  }
  return owners;
}

const SCHEMES = { redis: false, valkey: false, rediss: true, valkeys: true };

/**
 * What a URL of a cluster says: its nodes, and the user of all. Undefined: it is none; null: it is a bad one.
 * `redis+cluster://[user:password@]host[:port],host[:port]`
 */
export function parseCluster(url) {
  const [, kind, rest] = /^(\w+)[+-]cluster:\/\/(.*?)\/?$/.exec(url) ?? [];
  if (!Object.hasOwn(SCHEMES, kind ?? "")) return undefined;
  const [, user = "", hosts] = /^(?:(.*)@)?([^@]*)$/.exec(rest);
  const [, username, password] = /^([^:]*):?(.*)$/.exec(user).map(decodeURIComponent);
  const seeds = hosts.split(",").map((text) => {
    const [, bracketed, plain, port = "6379"] = /^(?:\[([^\]]+)\]|([^:/?#[\]]+))(?::(\d+))?$/.exec(text) ?? [];
    return { host: bracketed ?? plain, port: Number(port) };
  });
  if (seeds.some(({ host, port }) => !host || port < 1 || port > 65_535)) return null;
  return { seeds, isTls: SCHEMES[kind], username: username || undefined, password: password || undefined };
}
