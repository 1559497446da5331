import { CloakroomError } from "./errors.js";

/** How many are made at once. */
const MOST = 200;

/** The answers of a call for each of many, in order, or the errors: what is sent in one turn goes in one pipeline. */
export async function together(all, call) {
  const answers = [];
  for (let at = 0; at < all.length; at += MOST) {
    answers.push(...(await Promise.all(all.slice(at, at + MOST).map((one) => call(one).catch(told)))));
  }
  return answers;
}

/** An error of this package is an answer; any other is thrown. */
export function told(error) {
  if (error instanceof CloakroomError) return error;
  throw error;
}

/** The answers of calls that are one operation. */
export async function allOf(all, call) {
  const answers = [];
  for (let at = 0; at < all.length; at += MOST) {
    answers.push(...(await Promise.all(all.slice(at, at + MOST).map((one, place) => call(one, at + place)))));
  }
  return answers;
}
