import { existsSync, readFileSync } from "node:fs";

/** A package has the bundle beside its sources; the repository has it in its directory `lua`. */
const PLACES = ["../bundle.json", "../../../lua/bundle.json"].map((place) => new URL(place, import.meta.url));

/** The scripts and all that their headers say: `lua/bundle.json`, which `lua/README.md` describes. */
export const bundle = JSON.parse(readFileSync(PLACES.find(existsSync) ?? PLACES[0], "utf8"));
