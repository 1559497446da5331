// connect-redis under the load of the bench that started it. Each line that comes tells a load, each that goes what it
// took. The process has as many connections as every contender, and calls at once as many as the load says.

import { createInterface } from "node:readline";
import { RedisStore } from "connect-redis";
import { createClient } from "redis";

const { url, connections, ttl, attributes, patched } = JSON.parse(process.argv[2]);

const stores = await Promise.all(
  Array.from({ length: connections }, async () => {
    return new RedisStore({ client: await createClient({ url }).connect(), ttl });
  }),
);

/** As express-session hands it over: the cookie is stored too. */
function session(changes) {
  const expires = new Date(Date.now() + ttl * 1000);
  const cookie = { originalMaxAge: ttl * 1000, expires, httpOnly: true, path: "/" };
  return { cookie, ...attributes, ...changes };
}

async function get(store, id) {
  if (!(await store.get(id))) throw new Error(`there is no ${id}`);
}

const operations = {
  create: (store, id) => store.set(id, session()),
  get,
  request: get,
  // EXPIRE: no time of use is noted.
  refresh: (store, id) => store.touch(id, session()),
  // The half that follows the load.
  patch: (store, id) => {
    const value = Math.floor(Math.random() * 2 ** 32).toString(16).padStart(8, "0");
    return store.set(id, session({ [patched]: value }));
  },
  delete: (store, id) => store.destroy(id),
};

/** Calls until the time or the numbers are over. The latencies are in nanoseconds, each with how often it came. */
async function drive({ operation, callers, supply }) {
  const { crowd, first, end, millis } = supply;
  const call = operations[operation];
  const until = millis === null ? Infinity : performance.now() + millis;
  const latencies = new Map();
  let next = first;
  let turn = 0;
  async function caller() {
    do {
      const number = crowd === null ? next++ : Math.floor(Math.random() * crowd);
      if (end !== null && number >= end) return;
      const id = String(number).padStart(36, "0");
      const start = performance.now();
      await call(stores[turn++ % connections], id);
      const took = Number(((performance.now() - start) * 1e6).toPrecision(3));
      latencies.set(took, (latencies.get(took) ?? 0) + 1);
    } while (performance.now() < until);
  }
  const [start, cpu] = [performance.now(), process.cpuUsage()];
  await Promise.all(Array.from({ length: callers }, caller));
  const took = performance.now() - start;
  const { user, system } = process.cpuUsage(cpu);
  return { took, cpu: user + system, latencies: [...latencies] };
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await drive(JSON.parse(line))));
}
process.exit();
