/** A new id for a session, and a user: what a login does. */

import { settle } from "./declared.js";
import { MissingError } from "./errors.js";
import { checkName } from "./ids.js";
import { logIn } from "./login.js";
import { lookup } from "./lookup.js";
import { declaredOf, expect, limitOf, tokenOf } from "./one.js";
import { checkNames } from "./rules.js";
import { sessionOf } from "./session.js";

export async function rotate(operation, target, rotation) {
  checkNames("rotation", rotation, ["newId", "user"]);
  const { rules, partitions } = operation;
  const declared = declaredOf(operation, target);
  const user = checkName("user", rotation.user);
  const source = partitions.of(declared.id);
  const home = user === "" ? source : partitions.of(user);
  const chosen = rotation.newId ?? partitions.newIdIn(home, operation.id);
  const newId = partitions.idOf(chosen);
  const token = tokenOf(chosen);
  if (home !== source) {
    partitions.check(newId, user);
    return logIn(operation, { user: "", connection: "", node: "", ...declared }, { newId, token, user });
  }
  partitions.checkIn(home, newId);
  const { reply, evicted } = await settle(operation, "rotate", {
    ...declared,
    new_id: newId,
    new_user: user,
    grace_ms: rules.grace,
    rotation_grace_ms: rules.rotationGrace,
    tombstone_ms: rules.tombstone,
    ...limitOf(rules),
  });
  if (reply.word === "moved") {
    const found = await lookup(operation, reply.new_id);
    if (!found) {
      operation.checkSure();
      throw new MissingError();
    }
    return { session: found.session, token: null, evicted: [], byAnother: true };
  }
  return { session: sessionOf(newId, expect(reply, "ok").record), token, evicted, byAnother: false };
}
