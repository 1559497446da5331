/** An answer as a plain object, with the id that it shows to nobody by itself. */
export function whole(answer) {
  return { id: answer.id, ...answer };
}
