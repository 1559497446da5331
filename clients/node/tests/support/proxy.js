import { once } from "node:events";
import { connect, createServer } from "node:net";
import { after } from "node:test";

/** Stands between a client and a server, and cuts the connection before chosen replies get through. */
export async function startProxy(port) {
  const sockets = new Set();
  const dead = new Set();
  const proxy = {
    /** Which requests lose their replies, and how many did. */
    cuts: () => false,
    cut: 0,
    /** What happens between such a request and the loss of its reply. */
    meanwhile: async () => {},
    /** What happens before a request is passed on. */
    before: async () => {},
    /** How replies are passed on, in order. */
    reply: async (data, pass) => pass(data),
    /** How many connections were made, and how many of them are open. */
    connections: 0,
    open: 0,
    /** How many requests nobody answers, for they came over a connection that leads nowhere. */
    swallowed: 0,
  };
  const server = createServer({ noDelay: true }, (client) => {
    const upstream = connect({ port, host: "127.0.0.1", noDelay: true });
    let request = "";
    proxy.connections += 1;
    proxy.open += 1;
    client.on("close", () => (proxy.open -= 1));
    client.on("data", async (data) => {
      if (dead.has(client)) return void (proxy.swallowed += 1);
      request = data.toString("latin1");
      client.pause();
      await proxy.before(request);
      upstream.write(data);
      client.resume();
    });
    upstream.on("data", async (data) => {
      if (dead.has(upstream)) return;
      if (proxy.cuts(request)) {
        proxy.cut += 1;
        await proxy.meanwhile();
        client.destroy();
        return;
      }
      upstream.pause();
      await proxy.reply(data, (part) => client.write(part));
      upstream.resume();
    });
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ]) {
      sockets.add(one);
      one.on("close", () => other.destroy());
      one.on("error", () => {});
    }
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  proxy.url = `redis://127.0.0.1:${server.address().port}`;
  /** Ends the connections that there are. */
  proxy.cutAll = () => sockets.forEach((socket) => socket.destroy());
  /** Lets nothing more through the connections that there are, and ends none: as where a host is gone. */
  proxy.swallow = () => sockets.forEach((socket) => dead.add(socket));
  /** Ends all connections, and takes no more. */
  proxy.stop = async () => {
    if (!server.listening) return;
    server.close();
    proxy.cutAll();
    await once(server, "close");
  };
  after(proxy.stop);
  return proxy;
}
