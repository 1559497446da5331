/** Changes of single attributes and extensions, as a patch and a rotation make them. */

import { checkKey, textsOf } from "./entries.js";
import { checkList } from "./input.js";

/** What names them. */
export const CHANGES = ["set", "remove", "setExtensions", "removeExtensions"];

/** A list of `{ kind, key, json }`, of which an empty `json` removes. A key that is both set and removed is set. */
export function changesOf({ set = {}, remove = [], setExtensions = {}, removeExtensions = [] }) {
  return [
    ...removals("attribute", "remove", remove),
    ...sets("attribute", "set", set),
    ...removals("extension", "removeExtensions", removeExtensions),
    ...sets("extension", "setExtensions", setExtensions),
  ];
}

function sets(kind, field, values) {
  return textsOf(values, field).map(([key, json]) => ({ kind, key, json }));
}

function removals(kind, field, keys) {
  return checkList(field, keys).map((key) => ({ kind, key: checkKey(field, key), json: "" }));
}
