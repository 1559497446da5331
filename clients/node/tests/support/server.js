import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after } from "node:test";
import { createClient } from "@redis/client";
import { agree } from "../../src/contract.js";
import { Engine } from "../../src/engine.js";
import { Cloakroom } from "../../src/index.js";
import { rulesOf } from "../../src/rules.js";
import { serversOf } from "../../src/connect.js";

const TO_START = 60_000;

/** A Redis server of this test file, stopped when its tests are done. */
export async function startServer(...more) {
  const port = await freePort();
  const directory = await mkdtemp(join(tmpdir(), "cloakroom-"));
  const options = ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", directory, ...more];
  const child = spawn("redis-server", options, { stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(child, "exit");
  await ready(child);
  const url = `redis://127.0.0.1:${port}`;
  const admin = createClient({ url, RESP: 2 });
  // A test may kill it; and on a busy machine it connects again.
  admin.on("error", () => {});
  await admin.connect();
  const server = new Server(port, url, admin);
  server.kill = async () => {
    child.kill("SIGKILL");
    await exited;
  };
  after(async () => {
    await Promise.all(server.stores.map((store) => store.close()));
    admin.destroy();
    child.kill();
    await exited;
    await rm(directory, { recursive: true });
  });
  return server;
}

class Server {
  stores = [];
  #namespaces = 0;

  constructor(port, url, admin) {
    this.port = port;
    this.url = url;
    this.admin = admin;
  }

  /** A name that no other test of this server has. */
  namespace() {
    this.#namespaces += 1;
    return `test-${this.#namespaces}`;
  }

  /** A store in a namespace of its own, closed when the tests are done. */
  async store(options = {}, redis = this.url) {
    const namespace = options.namespace ?? this.namespace();
    // A busy machine is no failure.
    const store = await Cloakroom.connect(redis, { deadlineMs: 20_000, ...options, namespace });
    this.stores.push(store);
    return Object.assign(store, { namespace });
  }

  /** A store whose calls have no more than so long, though it had all the time that it needed to start. */
  async hurried(deadlineMs, url, namespace = this.namespace()) {
    const servers = serversOf(url);
    const until = performance.now() + TO_START;
    await servers.open(until);
    const partitions = await agree(servers, namespace, undefined, "uuid", until);
    const store = new Cloakroom(new Engine({ servers, partitions, rules: rulesOf(), deadlineMs }));
    this.stores.push(store);
    return store;
  }

  /** A store that tells `note` until when each script may be sent. */
  noting(note, partitions) {
    const servers = serversOf(this.url).begin();
    return this.#over(servers, partitions, {
      send: (commands, until) => (note(until), servers.send(commands, until)),
      sendTimed: (make, asks, until) => (note(until), servers.sendTimed(make, asks, until)),
    });
  }

  /** A store whose scripts somebody flushes, so many times, between their load and their call. */
  flushed(times, partitions) {
    const servers = serversOf(this.url).begin();
    const send = async ([load, ...calls], until) => {
      if (load[0] !== "SCRIPT" || times-- <= 0) return servers.send([load, ...calls], until);
      const [loaded] = await servers.send([load], until);
      await this.admin.sendCommand(["SCRIPT", "FLUSH"]);
      return [loaded, ...(await servers.send(calls, until))];
    };
    const sendTimed = async (make, asks, until) => {
      await servers.send([["TIME"]], until);
      return send(make(servers.clock), until);
    };
    return this.#over(servers, partitions, { send, sendTimed });
  }

  #over(servers, partitions, functions) {
    const link = {
      ...functions,
      get clock() {
        return servers.clock;
      },
    };
    const routes = { at: () => link, close: () => servers.close() };
    const store = new Cloakroom(new Engine({ servers: routes, partitions, rules: rulesOf(), deadlineMs: 20_000 }));
    this.stores.push(store);
    return store;
  }

  /** How often the server ran a command since the last `CONFIG RESETSTAT`. */
  async calls(command) {
    const info = await this.admin.sendCommand(["INFO", "commandstats"]);
    return Number(info.match(new RegExp(`cmdstat_${command}:calls=(\\d+)`, "i"))?.[1] ?? 0);
  }
}

/** A clock that stands where it is put. */
export function clockAt(start) {
  const clock = () => clock.now;
  clock.now = start;
  return clock;
}

async function ready(child) {
  for await (const line of createInterface({ input: child.stdout })) {
    if (line.includes("Ready to accept connections")) {
      child.stdout.resume();
      return;
    }
  }
  throw new Error("redis-server did not start");
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  // The nodes of a cluster hear each other at the port that is 10,000 higher.
  return port + 10_000 < 65_536 ? port : freePort();
}
