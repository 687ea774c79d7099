/** Which language a page speaks. Pure. */

/**
 * @param {readonly string[]} known codes; the first is for everybody else
 * @param {string | null} chosen by the visitor
 * @param {readonly string[]} preferred as the browser says, the best first: `uk-UA`
 * @returns {string} one of the known
 */
export function pick(known, chosen, preferred) {
  const wishes = [chosen ?? "", ...preferred.map((tag) => tag.toLowerCase().split("-")[0] ?? "")];
  return wishes.find((wish) => known.includes(wish)) ?? known[0] ?? "en";
}
