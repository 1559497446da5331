// The races of connect-redis, one per run: `node races.js URL RACE`. A race prints what came of it as one line of JSON.
//
// The requests are real: a server of node:http with express-session, as an Express application has it.

import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { RedisStore } from "connect-redis";
import session from "express-session";
import { createClient } from "redis";

const [url, race] = process.argv.slice(2);
const client = await createClient({ url }).connect();
const store = new RedisStore({ client, prefix: "connect-redis:" });
// The settings of connect-redis's README.
const middleware = session({ store, secret: "races", resave: false, saveUninitialized: false });

/** A promise, and the function that settles it. */
function signal() {
  let settle;
  const settled = new Promise((resolve) => (settle = resolve));
  return { settle, settled };
}
const loaded = signal();
const release = signal();

const handlers = {
  "/login": async (request) => (request.session.user = "ann"),
  "/logout": (request) => new Promise((resolve) => request.session.destroy(resolve)),
  "/whoami": async () => {},
  // A slow request: it has its session, takes its time, and puts something into the cart.
  "/cart": async (request) => {
    loaded.settle();
    await release.settled;
    request.session.cart = ["umbrella"];
  },
};

const server = createServer((request, response) => {
  middleware(request, response, async () => {
    await handlers[request.url](request);
    response.end(request.session?.user ?? "nobody");
  });
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));

/** What the server answers, and the cookie that the browser has from then on. */
async function visit(path, cookie = "") {
  const response = await fetch(`http://127.0.0.1:${server.address().port}${path}`, { headers: { cookie } });
  const set = response.headers.get("set-cookie");
  return { text: await response.text(), cookie: set ? set.split(";")[0] : cookie, status: response.status };
}

const races = {
  async "slow-save"() {
    const { cookie } = await visit("/login");
    const slow = visit("/cart", cookie);
    await loaded.settled;
    await visit("/logout", cookie);
    const { text: after } = await visit("/whoami", cookie);
    if (after !== "nobody") throw new Error("the logout did not log out");
    release.settle();
    const { status } = await slow;
    const { text: user } = await visit("/whoami", cookie);
    return { status, user };
  },
  async "two-logins"() {
    const logins = await Promise.all([visit("/login"), visit("/login")]);
    const users = await Promise.all(logins.map(async ({ cookie }) => (await visit("/whoami", cookie)).text));
    return { live: users.filter((user) => user === "ann").length };
  },
  // Logs ann in, prints the id of her session, waits for a line, and logs her out.
  async doomed() {
    const { cookie } = await visit("/login");
    // connect.sid=s:ID.SIGNATURE
    const [id] = decodeURIComponent(cookie).split("=s:")[1].split(".");
    console.log(id);
    for await (const _ of createInterface({ input: process.stdin })) break;
    await visit("/logout", cookie);
    return "done";
  },
};

const answer = await races[race]();
console.log(typeof answer === "string" ? answer : JSON.stringify(answer));
process.exit();
