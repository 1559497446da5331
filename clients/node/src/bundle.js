import { readFileSync } from "node:fs";

/** The scripts and all that their headers say: `lua/bundle.json`, which `lua/README.md` describes. */
export const bundle = JSON.parse(readFileSync(new URL("../bundle.json", import.meta.url), "utf8"));
