import assert from "node:assert/strict";
import { test } from "node:test";
import { Cluster } from "../src/cluster.js";
import { Epochs, GIVEN_UP_AFTER } from "../src/epochs.js";

test("an older epoch counts only where all tell it, or none has told the newer for long", () => {
  const epochs = new Epochs();
  assert.ok(epochs.admit(7, "some", 0));
  assert.ok(!epochs.admit(6, "some", 0));
  assert.ok(epochs.admit(7, "some", 0), "the same is no older one");
  assert.ok(epochs.admit(6, "all", 0), "they were set up anew");
  assert.ok(epochs.admit(8, "some", 0));
  assert.ok(!epochs.admit(6, "some", 0));
  assert.ok(!epochs.admit(6, "some", GIVEN_UP_AFTER / 2));
  assert.ok(epochs.admit(8, "some", GIVEN_UP_AFTER / 2));
  assert.ok(!epochs.admit(6, "some", GIVEN_UP_AFTER), "the newer was told meanwhile");
  assert.ok(epochs.admit(6, "some", 2 * GIVEN_UP_AFTER));
});

test("a cluster that was set up anew is followed, though its epochs are smaller", async () => {
  const seeds = [1, 2].map((port) => ({ host: "node", port }));
  let told;
  const linkTo = ({ port }) => ({
    isReady: true,
    ready: async () => told[port] !== undefined,
    send: async () => [`cluster_state:ok\r\ncluster_current_epoch:${told[port].epoch}\r\n`, [[0, 16383, ["node", told[port].owner]]]],
  });
  const cluster = new Cluster(seeds, linkTo);
  const ownerWhile = async (maps) => {
    told = maps;
    cluster.suspect();
    return (await cluster.owner("{t:0}", Infinity)).address.port;
  };
  assert.equal(await ownerWhile({ 1: { epoch: 7, owner: 1 }, 2: { epoch: 7, owner: 1 } }), 1);
  // Only one of them answers: it may have been cut off.
  assert.equal(await ownerWhile({ 2: { epoch: 6, owner: 2 } }), 1);
  assert.equal(await ownerWhile({ 1: { epoch: 7, owner: 1 }, 2: { epoch: 6, owner: 2 } }), 1);
  assert.equal(await ownerWhile({ 1: { epoch: 3, owner: 2 }, 2: { epoch: 2, owner: 1 } }), 2);
  assert.equal(await ownerWhile({ 2: { epoch: 2, owner: 1 } }), 2);
});
