import { setTimeout } from "node:timers/promises";
import { startServer } from "./server.js";

const SLOTS = 16_384;
const MASTERS = 3;
const PATIENCE = 30_000;

/** Waits until it does. */
export async function eventually(holds) {
  const until = performance.now() + PATIENCE;
  while (!(await holds())) {
    if (performance.now() > until) throw new Error("it never did");
    await setTimeout(20);
  }
}

/** A real cluster of this test file: three masters, then the replica of each. */
export async function startCluster() {
  const options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"];
  const nodes = await Promise.all(Array.from({ length: 2 * MASTERS }, () => startServer(...options)));
  const cluster = new TestCluster(nodes);
  await cluster.begin();
  return cluster;
}

class TestCluster {
  #ids;

  constructor(nodes) {
    this.nodes = nodes;
    this.url = `redis+cluster://${nodes.map(({ port }) => `127.0.0.1:${port}`).join(",")}`;
  }

  tell(node, ...command) {
    return this.nodes[node].admin.sendCommand(command.map(String));
  }

  async begin() {
    this.#ids = await Promise.all(this.nodes.map((_, at) => this.tell(at, "CLUSTER", "MYID")));
    for (let at = 0; at < MASTERS; at++) {
      const [first, end] = [at, at + 1].map((part) => Math.floor((SLOTS * part) / MASTERS));
      await this.tell(at, "CLUSTER", "ADDSLOTSRANGE", first, end - 1);
      await this.tell(at, "CLUSTER", "SET-CONFIG-EPOCH", at + 1);
    }
    await eventually(() => this.#haveMet());
    for (let at = 0; at < MASTERS; at++) {
      const follows = () => this.tell(MASTERS + at, "CLUSTER", "REPLICATE", this.#ids[at]).then(Boolean, () => false);
      await eventually(follows);
    }
    for (const at of this.nodes.keys()) await eventually(() => this.#isWhole(at));
  }

  /** Whether the first node knows the others. It gives up on a node that takes too long to answer, so it is asked again. */
  async #haveMet() {
    const lines = (await this.tell(0, "CLUSTER", "NODES")).split("\n").filter((line) => !line.includes("handshake"));
    const strangers = this.nodes.filter((_, at) => !lines.some((line) => line.startsWith(this.#ids[at])));
    for (const { port } of strangers) await this.tell(0, "CLUSTER", "MEET", "127.0.0.1", port);
    return strangers.length === 0;
  }

  async #isWhole(at) {
    const info = await this.tell(at, "CLUSTER", "INFO");
    const [role, , , state] = await this.tell(at, "ROLE");
    const slots = await this.tell(at, "CLUSTER", "SLOTS");
    const isKnown = info.includes("cluster_state:ok") && info.includes("cluster_known_nodes:6");
    return isKnown && (role === "master" || state === "connected") && slots.length >= MASTERS;
  }

  /** Which node is the master of a slot, as the last one says. */
  async owner(slot) {
    const ranges = await this.tell(5, "CLUSTER", "SLOTS");
    const [, , [, , id]] = ranges.find(([first, last]) => first <= slot && slot <= last);
    return this.#ids.indexOf(id);
  }

  async beginToMove(slot, source, target) {
    await this.tell(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", this.#ids[source]);
    await this.tell(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", this.#ids[target]);
  }

  /** Moves some of its keys. How many there were. */
  async moveKeys(slot, source, target, most) {
    const keys = await this.tell(source, "CLUSTER", "GETKEYSINSLOT", slot, most);
    for (const key of keys) await this.tell(source, "MIGRATE", "127.0.0.1", this.nodes[target].port, key, 0, 5000);
    return keys.length;
  }

  /** How often a node answered with an error of a code. */
  async errors(node, code) {
    const info = await this.tell(node, "INFO", "errorstats");
    return Number(String(info).match(new RegExp(`errorstat_${code}:count=(\\d+)`))?.[1] ?? 0);
  }

  async endMove(slot, source, target) {
    for (const node of [target, source]) await this.tell(node, "CLUSTER", "SETSLOT", slot, "NODE", this.#ids[target]);
  }

  /** Waits until the replica of a master has taken its place. */
  async promoted(master) {
    await eventually(async () => {
      const [role] = await this.tell(MASTERS + master, "ROLE");
      return role === "master" && (await this.tell(MASTERS + master, "CLUSTER", "INFO")).includes("cluster_state:ok");
    });
  }
}
