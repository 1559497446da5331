// What people do in the shop, in Chromium, with two processes of the shop on one Redis.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";

const { BINARY, CHROMIUM = "/usr/bin/chromium" } = process.env;
const PATIENCE = 20_000;

let browser, directory, redis, url, shops;
const children = [];

before(async () => {
  directory = await mkdtemp(join(tmpdir(), "shop-"));
  const socket = join(directory, "redis.sock");
  redis = start("redis-server", ["--port", "0", "--unixsocket", socket, "--save", "", "--dir", directory]);
  await line(redis.stdout, /ready to accept connections/i);
  url = `redis+unix://${socket}`;
  shops = await Promise.all([shop(), shop()]);
  browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
});

after(async () => {
  await browser?.close();
  for (const child of children) {
    child.kill();
    if (child.exitCode === null && child.signalCode === null) await new Promise((ended) => child.once("exit", ended));
  }
  await rm(directory, { recursive: true, force: true });
});

function start(command, args, env = {}) {
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  children.push(child);
  return child;
}

/** The first line that fits. What comes later is read and left. */
function line(stream, pattern) {
  return new Promise((found, failed) => {
    const lines = createInterface({ input: stream });
    lines.on("line", (text) => pattern.test(text) && found(text));
    lines.on("close", () => failed(new Error(`ended without ${pattern}`)));
  });
}

/** A process of the shop, by its address. */
async function shop(env = {}) {
  const child = start(BINARY, [], { REDIS_URL: url, PORT: "0", ...env });
  return (await line(child.stderr, /^http:/)).trim();
}

/** A profile of the browser, with a tab. What breaks the page's policy fails the test. */
async function profile(t, address) {
  const context = await browser.newContext({ baseURL: address });
  context.setDefaultTimeout(PATIENCE);
  t.after(() => context.close());
  const problems = [];
  const open = async (path = "/") => {
    const page = await context.newPage();
    page.on("console", (message) => /Content Security Policy/.test(message.text()) && problems.push(message.text()));
    page.on("pageerror", (error) => problems.push(error.message));
    await page.goto(path);
    return page;
  };
  t.after(() => assert.deepEqual(problems, []));
  return { context, open };
}

async function login(page, user) {
  await page.goto("/login");
  await page.getByLabel("Name").fill(user);
  await page.getByLabel("Password").fill("secret");
  await page.getByRole("main").getByRole("button", { name: "Log in" }).click();
  await connected(page);
}

/** The tab's socket is open. */
const connected = (page) => page.locator("body.connected").waitFor({ state: "attached" });
const atLogin = (page) => page.waitForURL("**/login?ended");
const token = async (context) => (await context.cookies()).find((cookie) => cookie.name === "session")?.value;

test("a visitor's cart is there after the login, under another token", async (t) => {
  const { context, open } = await profile(t, shops[0]);
  const page = await open();
  await page.getByRole("listitem").filter({ hasText: "Gloves" }).getByRole("button").click();
  await page.locator("#cart").getByText("Gloves").waitFor();
  const before = await token(context);
  await login(page, "ann");
  await page.locator("#cart").getByText("Gloves").waitFor();
  assert.notEqual(await token(context), before);
});

test("who does not know the password stays outside", async (t) => {
  const { open } = await profile(t, shops[0]);
  const page = await open("/login");
  await page.getByLabel("Name").fill("ann");
  await page.getByLabel("Password").fill("guess");
  await page.getByRole("main").getByRole("button", { name: "Log in" }).click();
  await page.getByText("That is not right.").waitFor();
});

test("a second tab throws out nobody, and a logout in one ends both at once", async (t) => {
  const { open } = await profile(t, shops[0]);
  const first = await open();
  await login(first, "ann");
  const second = await open();
  await Promise.all([connected(first), connected(second)]);
  await first.reload();
  await connected(first);
  await second.getByRole("button", { name: "Log out" }).click();
  await second.getByRole("link", { name: "Log in" }).waitFor();
  await atLogin(first);
});

test("a device is kicked from another process", async (t) => {
  const [laptop, phone] = [await profile(t, shops[0]), await profile(t, shops[1])];
  const [there, here] = [await phone.open(), await laptop.open()];
  await login(there, "ben");
  await login(here, "ben");
  await here.getByRole("link", { name: "ben" }).click();
  await here.getByText("this one").waitFor();
  await here.getByRole("main").getByRole("button", { name: "Log out", exact: true }).click();
  await atLogin(there);
  await here.getByText("this one").waitFor();
  assert.equal(await here.getByRole("main").getByRole("button", { name: "Log out", exact: true }).count(), 0);
});

test("a user logs out everywhere, in all processes", async (t) => {
  const [laptop, phone] = [await profile(t, shops[0]), await profile(t, shops[1])];
  const [here, there] = [await laptop.open(), await phone.open()];
  await login(here, "ann");
  await login(there, "ann");
  await here.goto("/devices");
  await here.getByRole("button", { name: "Log out everywhere" }).click();
  await Promise.all([atLogin(here), atLogin(there)]);
  await there.goto("/devices");
  await there.waitForURL("**/login");
});

test("requests in flight while their browser logs in leave it logged in", async (t) => {
  const { open } = await profile(t, shops[0]);
  const page = await open("/login");
  const statuses = await page.evaluate(async () => {
    const csrf = document.querySelector("input[name=csrf]").value;
    const body = new URLSearchParams({ user: "ann", password: "secret", csrf });
    const requests = Array.from({ length: 30 }, () => fetch("/"));
    requests.splice(15, 0, fetch("/login", { method: "POST", body }));
    return (await Promise.all(requests)).map((response) => response.status);
  });
  assert.deepEqual([...new Set(statuses)], [200]);
  await page.goto("/devices");
  await page.getByText("this one").waitFor();
});

test("a tab whose session expires goes to the login by itself", async (t) => {
  const { open } = await profile(t, await shop({ IDLE_SECONDS: "2" }));
  const page = await open();
  await login(page, "ann");
  await atLogin(page);
  await page.getByText("You were logged out.").waitFor();
});

test("Back shows nothing after a logout", async (t) => {
  const { open } = await profile(t, shops[0]);
  const page = await open();
  await login(page, "ann");
  await page.goto("/devices");
  await page.getByText("this one").waitFor();
  await page.getByRole("navigation").getByRole("button", { name: "Log out" }).click();
  await page.getByRole("link", { name: "Log in" }).waitFor();
  await page.goBack();
  await page.waitForURL("**/login");
});
