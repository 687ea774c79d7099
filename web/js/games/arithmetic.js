/** What a sum comes to, as the server reads it: numbers and + − × ÷ between blanks, × and ÷ first. Pure. */

/** @param {string} text */
export function solve(text) {
  const [first, ...rest] = text.split(" ");
  const terms = [Number(first)];
  for (let at = 0; at < rest.length; at += 2) {
    const number = Number(rest[at + 1]);
    const last = terms.length - 1;
    switch (rest[at]) {
      case "+":
        terms.push(number);
        break;
      case "−":
        terms.push(-number);
        break;
      case "×":
        terms[last] = Number(terms[last]) * number;
        break;
      case "÷":
        terms[last] = Math.floor(Number(terms[last]) / number);
        break;
    }
  }
  return terms.reduce((sum, term) => sum + term, 0);
}

/**
 * Which sum is asked after these results, and how it went so far.
 *
 * @typedef {{levels: string[][], firstLevel: number, raiseAfter: number, penaltyMs: number}} Sums
 * @param {Sums} puzzle
 * @param {(number | null)[]} results
 */
export function follow(puzzle, results) {
  const asked = puzzle.levels.map(() => 0);
  let level = puzzle.firstLevel;
  let [streak, right] = [0, 0];
  const sum = () => {
    const sums = puzzle.levels[level] ?? [];
    return String(sums[Number(asked[level]) % sums.length]);
  };
  for (const result of results) {
    const isRight = result === solve(sum());
    asked[level] = Number(asked[level]) + 1;
    streak = isRight ? streak + 1 : 0;
    right += isRight ? 1 : 0;
    if (!isRight) {
      level = Math.max(puzzle.firstLevel, level - 1);
    } else if (streak % puzzle.raiseAfter === 0) {
      level = Math.min(puzzle.levels.length - 1, level + 1);
    }
  }
  return { sum: sum(), level, right, wrong: results.length - right };
}
