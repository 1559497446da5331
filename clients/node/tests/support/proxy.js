import { once } from "node:events";
import { connect, createServer } from "node:net";
import { after } from "node:test";

/** Stands between a client and a server, and cuts the connection before chosen replies get through. */
export async function startProxy(port) {
  const sockets = new Set();
  const proxy = { cuts: () => false, cut: 0 };
  const server = createServer({ noDelay: true }, (client) => {
    const upstream = connect({ port, host: "127.0.0.1", noDelay: true });
    let request = "";
    client.on("data", (data) => {
      request = data.toString("latin1");
      upstream.write(data);
    });
    upstream.on("data", (data) => {
      if (proxy.cuts(request)) {
        proxy.cut += 1;
        client.destroy();
      } else client.write(data);
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
  /** Ends all connections, and takes no more. */
  proxy.stop = async () => {
    if (!server.listening) return;
    server.close();
    sockets.forEach((socket) => socket.destroy());
    await once(server, "close");
  };
  after(proxy.stop);
  return proxy;
}
