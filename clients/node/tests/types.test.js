import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import * as cloakroom from "../src/index.js";

const SOURCES = new URL("../src/", import.meta.url);
const declarations = readdirSync(SOURCES)
  .filter((name) => name.endsWith(".d.ts"))
  .map((name) => readFileSync(new URL(name, SOURCES), "utf8"))
  .join("\n");

test("what is exported is declared, and the other way round", () => {
  const declared = Array.from(declarations.matchAll(/^export class (\w+)/gm), ([, name]) => name);
  assert.deepEqual(declared.sort(), Object.keys(cloakroom).sort());
});

test("each class has the methods that are declared", () => {
  for (const name of ["Cloakroom", "Entries", "Session", "Token"]) {
    const [, body] = declarations.match(new RegExp(`^export class ${name}\\b.*?\\{\\n(.*?)^\\}`, "ms"));
    const declared = Array.from(body.matchAll(/^ {2}(\w+)\(/gm), ([, method]) => method);
    const { prototype } = cloakroom[name];
    const { constructor, ...methods } = Object.getOwnPropertyDescriptors(prototype);
    const names = Object.keys(methods).filter((key) => typeof methods[key].value === "function");
    assert.deepEqual(declared.filter((method) => method !== "constructor").sort(), names.sort());
  }
});
