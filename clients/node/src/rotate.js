/** A new id for a session, and its user: what a login does, and a logout that keeps what is in it. */

import { CHANGES, changesOf } from "./changes.js";
import { settle } from "./declared.js";
import { InvalidError, MissingError, MovedError } from "./errors.js";
import { requireName } from "./ids.js";
import { checkFlag, checkOptions } from "./input.js";
import { logIn } from "./login.js";
import { lookup } from "./lookup.js";
import { declaredOf, expect, tokenOf } from "./one.js";
import { checkedChanges, checkLifetime, checkTtl } from "./rules.js";
import { sessionOf } from "./session.js";

const ROTATION = ["newId", "user", "anonymous", "ttlMs", "lifetimeMs", "keepDeadline", ...CHANGES];

export async function rotate(operation, target, given) {
  const rotation = rotationOf(operation.rules, given);
  const { partitions } = operation;
  const declared = declaredOf(operation, target);
  const { user } = rotation;
  const source = partitions.of(declared.id);
  const home = user === "" ? source : partitions.of(user);
  const chosen = given.newId ?? partitions.newIdIn(home, operation.id);
  const newId = partitions.idOf("newId", chosen);
  const token = tokenOf(chosen);
  if (home !== source) {
    partitions.check("newId", newId, user);
    return logIn(operation, { user: "", connection: "", node: "", ...declared }, { newId, token, rotation });
  }
  partitions.checkIn("newId", home, newId);
  const { reply, evicted } = await settle(operation, "rotate", {
    ...declared,
    new_id: newId,
    new_user: user,
    becomes: rotation.isAnonymous ? "anonymous" : undefined,
    new_ttl_ms: rotation.ttlMs,
    new_lifetime_ms: rotation.lifetimeMs,
    changes: rotation.changes,
  });
  if (reply.word === "moved") {
    // Its client is to hold a token, which the other rotation has.
    if (partitions.idScheme === "token") throw new MovedError({});
    const found = await lookup(operation, reply.new_id);
    if (!found) {
      operation.checkSure();
      throw new MissingError();
    }
    return { session: found.session, token: null, evicted: [], byAnother: true };
  }
  return { session: sessionOf(newId, expect(reply, "ok").record), token, evicted, byAnother: false };
}

/**
 * What a rotation is to do, checked. Of `lifetimeMs`, how long the session lives at most from now on, 0 is no limit; with
 * undefined its deadline stays.
 */
function rotationOf(rules, given) {
  checkOptions("rotation", given, ROTATION);
  const isAnonymous = checkFlag("anonymous", given.anonymous ?? false);
  const user = given.user === undefined || given.user === null ? "" : requireName("user", given.user);
  if (isAnonymous && user !== "") throw new InvalidError("anonymous", "is told beside a user");
  const list = changesOf(given);
  return {
    user,
    isAnonymous,
    ttlMs: given.ttlMs === undefined ? undefined : checkTtl(given.ttlMs),
    lifetimeMs: lifetimeOf(rules, given, isAnonymous || user !== ""),
    list,
    changes: checkedChanges(rules, list),
  };
}

/** A login or a logout begins a lifetime, if the rules have one. */
function lifetimeOf(rules, { lifetimeMs, keepDeadline = false }, isAnothers) {
  checkFlag("keepDeadline", keepDeadline);
  if (lifetimeMs !== undefined) return checkLifetime(lifetimeMs);
  return isAnothers && !keepDeadline ? (rules.maxLifetimeMs ?? 0) : undefined;
}
