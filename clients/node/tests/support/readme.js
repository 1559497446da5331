import { readFileSync } from "node:fs";

/** The example in a section of a page, whose place is told from the tests. */
export function exampleOf(page, section) {
  const [, text] = readFileSync(new URL(`../${page}`, import.meta.url), "utf8").split(`## ${section}\n`);
  return text.match(/```js\n(.*?)```/s)[1];
}
