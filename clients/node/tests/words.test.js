// The words of replies.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { CorruptError } from "../src/errors.js";
import { errorOf } from "../src/reply.js";

const { operations } = JSON.parse(readFileSync(new URL("../bundle.json", import.meta.url)));
/** What is no refusal, and what has an error that is made otherwise. */
const OTHERS = ["ok", "again", "unchanged", "part", "unsure", "corrupt"];

test("each word that refuses a call is known, and that of another contract is not", () => {
  const replies = Object.values(operations).flatMap(({ replies }) => replies);
  for (const { word } of replies.filter((reply) => !OTHERS.includes(reply.word)))
    assert.ok(!(errorOf({ word }) instanceof CorruptError), word);
  assert.ok(errorOf({ word: "perhaps" }) instanceof CorruptError);
});
