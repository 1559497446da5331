/** The members of a reply with their scores: RESP 3 has them in pairs, RESP 2 in turn. */
export function scored(reply) {
  if (Array.isArray(reply[0])) return reply.map(([member, score]) => [member, Number(score)]);
  const members = reply.filter((_, at) => at % 2 === 0);
  return members.map((member, at) => [member, Number(reply[2 * at + 1])]);
}
