/** Compiles only where the declarations say what the client takes and returns. Nobody runs it. */

import { createClient } from "@redis/client";
import { AmbiguousError, Cloakroom, ConflictError, NodeIdentity, RawJson, Session, Token, type Cursor, type Removed, type SessionRef } from "@cloakroom/sessions";

export async function example(id: string): Promise<void> {
  const rules = { ttlMs: 60_000, sessionsPerUser: 5, onLimit: "evictOldest" } as const;
  const store = await Cloakroom.connect("redis://127.0.0.1/", { namespace: "shop", rules });
  const { session, evicted, reaped } = await store.create({ user: "ann", attributes: { cart: ["umbrella"] } });
  const closed: (string | null)[] = [...evicted.map(({ connection }) => connection), ...reaped.map(({ node }) => node)];
  const read: Session | null = await store.get(id);
  const targets: SessionRef[] = [session, id, Token.parse(id)];
  session.user = null;
  session.set("big", new RawJson("9007199254740993"));
  await store.update(session);
  for (const target of targets) await store.patch(target, { set: { a: 1n }, remove: ["b"], version: session.version });
  const { session: rotated } = await store.rotate(session, { user: "ann", lifetimeMs: 1, set: { by: "password" } });
  const became = await store.explain(id);
  if (became.word === "expired") console.log(new Date(became.atMs));
  const kept: boolean = session.apply(await store.patch(session, { ttlMs: 1 }));
  const { takenFrom } = await store.bind(rotated, { connection: "c1", takeOver: true });
  const unbound: "detached" | "notBound" | "missing" = await store.unbind(rotated.id, "c1");
  let after: Cursor | null = null;
  do ({ next: after } = await store.list({ user: "ann" }, after ? { after } : {}));
  while (after);
  const exported = await store.export(id);
  if (exported) await store.import(exported, { replaces: 3 });
  console.log(kept, closed, read?.json("big"), takenFrom, unbound, await store.count({ node: "n" }));

  const identity = new NodeIdentity("n");
  const until: number = await store.heartbeat(identity, { want: "register", leaseMs: 5000 });
  const { sessions, next } = await store.asNode(identity).recover("m", identity.node, { batch: 10 });
  console.log(until, sessions.length, next, (await store.nodes())[0]?.isLive, await store.lapsedNodes());

  const task = Buffer.from("the task");
  const outgoing = await store.freeze(session, task, "east", { node: "m", spanMs: 10_000 });
  if (outgoing) {
    const { exported, untilMs } = outgoing;
    const imported: "imported" | "unchanged" | "missing" = await store.import(exported, {
      incoming: { task, untilMs, place: "west", node: "m" },
    });
    const departed: boolean = await store.depart(session, task, untilMs);
    const thawed: "thawed" | "unchanged" | "missing" = await store.thaw(id, task, "incoming");
    console.log(imported, departed, thawed, await store.clean(id, task, departed ? "departed" : "deleted"));
    await store.clean(id, task, "copy", { untilMs });
    // @ts-expect-error What comes by a migration replaces nothing.
    await store.import(exported, { replaces: 3, incoming: { task, untilMs, place: "west" } });
    // @ts-expect-error Of a copy the end of the freeze has to be told.
    await store.clean(id, task, "copy");
  }
  const { migrations, next: more } = await store.migrations({ limit: 10 });
  const ends: (number | null)[] = migrations.map(({ untilMs }) => untilMs);
  console.log(ends, more, migrations[0]?.phase === "departed");

  // @ts-expect-error The version is the engine's.
  session.version = 7;
  // @ts-expect-error A user or a node, not a connection.
  await store.count({ connection: "c1" });
}

export async function handedIn(): Promise<Cloakroom> {
  const client = createClient({ url: "redis://127.0.0.1/" });
  await Cloakroom.connect(client.withTypeMapping({}), { maxWaiting: 100 });
  return Cloakroom.connect({ url: "redis://127.0.0.1/", RESP: 3, name: "shop" });
}

export async function heard(store: Cloakroom, kept: string | undefined): Promise<string> {
  const { token } = await store.create({ id: store.newId("ann"), user: "ann" });
  const cookie: string | undefined = token?.expose();
  if (cookie) await store.get(Token.parse(cookie));
  const events = await store.events(kept ?? "beginning", { intervalMs: 100 });
  for await (const event of events) {
    if (event.what === "lagged") console.log(event.partition);
    // Of what ended there is an id.
    else if (event.what === "ended" && event.why === "login") return event.newId ?? event.id;
    // @ts-expect-error There is no such word.
    else if (event.what === "danced") break;
  }
  return events.position;
}

export async function repeated(store: Cloakroom, session: Session): Promise<Removed | null> {
  try {
    return await store.delete(session);
  } catch (error) {
    if (error instanceof AmbiguousError) return store.withOperationId(error.operationId).delete(session);
    if (error instanceof ConflictError) console.log(error.version);
    throw error;
  }
}
