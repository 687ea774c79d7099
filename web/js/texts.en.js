/**
 * Every text that the pages show, in English. Another language is one more file with these keys, and a line in texts.js.
 * What stands in the HTML, too, is there for the moment before the script has run.
 */
export default {
  languageName: "English",
  languageShort: "Eng",
  game: "Brain Game",
  lead: "Three short games for the mind, and a leaderboard that moves while you look at it.",
  playButton: "Play",
  wallHeading: "On a wall",
  wallLink: "Open the board for a big screen",
  developersHeading: "For developers",
  developersText: "Watching needs no account. In the console of this page:",

  boards: "Boards",
  board: {
    "all-time": "All time",
    weekly: "This week",
    daily: "Today",
  },
  difficultyOfBoard: "Difficulty",
  everyDifficulty: "Every difficulty",
  /** @type {(difficulty: number) => string} */
  difficulty: (difficulty) => `Difficulty ${difficulty}`,
  /** @type {(board: string, difficulty: number) => string} */
  atDifficulty: (board, difficulty) => `${board}, difficulty ${difficulty}`,
  unknownBoardTitle: "Board not found",
  unknownBoard: "There is no such board. Maybe the address was mistyped.",
  unknownBoardWayOut: "See the board of all time",
  joinCode: "Scan to play",

  /** @type {(count: number, formatted: string) => string} */
  players: (count, formatted) => (count === 1 ? "1 player" : `${formatted} players`),
  passedAll: "passed all games",
  emptyTitle: "Nobody is here yet",
  emptyText: "The first game played takes the top.",

  connecting: "Connecting …",
  unreachable: "Not connected, trying again",
  live: "Live",
  /** @type {(time: string) => string} */
  notLiveSince: (time) => `Not live since ${time}`,
  /** @type {(name: string, score: string, players: string) => string} */
  leader: (name, score, players) => `${name} leads with ${score} points. ${players}.`,

  toDark: "Switch to dark",
  toLight: "Switch to light",
  home: "Start page",

  // Playing: who I am
  registerTitle: "Who is playing?",
  registerText: "Your name is what others see on the board. The email stays between us.",
  registerButton: "Start playing",
  toLogin: "I have played before",
  loginTitle: "Welcome back",
  loginButton: "Log in",
  toRegister: "I am new here",
  username: "Name",
  email: "Email",
  password: "Password",
  passwordHint: "At least 8 characters",
  logout: "Log out",
  required: "Please fill this in.",
  fieldWrong: {
    email: "This is not a complete email address.",
    username: "1 to 32 characters, please, without invisible ones.",
    password: "At least 8 characters, please, and not more than 72.",
  },
  /** By the server's code. @type {Record<string, string>} */
  errors: {
    email_taken: "Somebody has registered with this email already. Is it you? Then log in.",
    username_taken: "This name is taken. Try another one.",
    invalid_credentials: "Email or password is wrong.",
    rate_limited: "Too many tries at once. Please wait a moment.",
    unavailable: "The server cannot do this at the moment. Please try again.",
    too_fast: "That was faster than anybody can be, so it was not counted.",
    score_not_accepted: "Here the server keeps the score.",
  },
  errorElse: "That did not work. Please try again.",
  answerLost: "The connection was lost before the answer came. Please try again.",
  loggedOut: "You were logged out. Please log in again.",

  // Playing: a session
  readyTitle: "Ready?",
  readyText: "Three games of a minute or two. What you earn in all of them counts.",
  chooseDifficulty: "Difficulty",
  difficultyHint: "Each step is harder and worth a tenth more.",
  easiest: "easy",
  hardest: "hard",
  startSession: "Play",
  inProgressTitle: "Your game is not over",
  /** @type {(stage: number, stages: number, points: string) => string} */
  inProgressText: (stage, stages, points) => `You are at game ${stage} of ${stages}, with ${points} points so far.`,
  goOn: "Go on",
  giveUp: "Give up",
  giveUpSure: "Give this game up? It will not count.",
  giveUpYes: "Give up",
  giveUpNo: "Keep playing",
  failStage: "Stop here",
  failSure: "Stop here? The points so far count, but not as all games passed.",
  failYes: "Stop and count",
  canceledTitle: "Given up",
  canceledText: "This one does not count. The next one may.",

  /** @type {(stage: number, stages: number) => string} */
  stageOf: (stage, stages) => `Game ${stage} of ${stages}`,
  pointsSoFar: "Points",
  timeLeft: "Time left",
  /** @type {(seconds: number) => string} */
  secondsLeft: (seconds) => `${seconds} seconds left`,
  placeToday: "Today",
  noPlace: "–",
  begin: "Begin",
  dealing: "One moment …",
  sending: "Counting your points …",
  offline: "No connection. What you do is kept, and the clock goes on.",
  backOnline: "Connected again.",
  unknownGame: "This page does not know the next game. Please reload it.",
  timeIsUp: "Time is up",

  games: {
    sequence: {
      name: "Sequence",
      rule: "Tiles light up one after the other. Tap them again in the same order. Each round is one tile longer, until the first mistake.",
      hint: "The keys 1 to 9 work, too.",
      watch: "Watch",
      repeat: "Your turn",
      right: "Right!",
      board: "Tiles",
      /** @type {(number: number) => string} */
      tile: (number) => `Tile ${number}`,
      /** @type {(length: number) => string} */
      result: (length) => (length === 0 ? "No round was complete." : `You repeated ${length} tiles in a row.`),
    },
    sums: {
      name: "Sums",
      rule: "Sixty seconds of mental arithmetic. Right answers in a row make it harder, and worth more. A wrong one costs two seconds.",
      hint: "Type the result; a right one is taken at once. Enter confirms, S skips.",
      result: "Result",
      enter: "Confirm",
      erase: "Erase",
      skip: "Skip",
      right: "Right",
      /** @type {(solution: number) => string} */
      wrong: (solution) => `It was ${solution}`,
      /** @type {(level: number) => string} */
      level: (level) => `Level ${level}`,
      /** @type {(right: number, wrong: number) => string} */
      summary: (right, wrong) => `${right} right, ${wrong} wrong or skipped.`,
    },
    drawing: {
      name: "Draw it again",
      rule: "Look at the picture. Then it is gone: draw it from memory. Place and size do not matter, the lines do.",
      hint: "Finger, pen or mouse. With the keyboard: arrows move the pen, space lowers and lifts it.",
      look: "Look well",
      drawNow: "Now draw it",
      canvas: "Sheet to draw on. Arrow keys move the pen, space lowers and lifts it.",
      undo: "Undo",
      clear: "Clear",
      done: "Done",
      original: "The picture",
      drawn: "Your drawing",
      together: "Laid over each other",
    },
  },

  // Playing: what came of it
  /** @type {(points: string) => string} */
  earned: (points) => `${points} points`,
  /** @type {Record<string, string>} */
  verdicts: {
    passed: "Passed",
    failed: "Not passed",
    late: "Too late",
  },
  lateText: "The answer came after the time was up, so it does not score.",
  failedText: "This game was not passed, so the session ends here. What you have earned counts.",
  total: "Total",
  nextStage: "Next game",
  /** @type {(place: string) => string} */
  wouldBe: (place) => `Finish now and you are number ${place} today.`,
  /** @type {(more: string) => string} */
  toNext: (more) => `${more} more points to pass`,
  aheadOfAll: "Nobody is ahead of you today.",
  finishedTitle: "All games passed",
  endedTitle: "That was it for this time",
  places: "Your places",
  /** @type {(place: string, total: string) => string} */
  placeOf: (place, total) => `${place} of ${total}`,
  notPlaced: "not on it yet",
  playAgain: "Play again",
  share: "Share",
  /** @type {(points: string) => string} */
  shareText: (points) => `I have ${points} points in Brain Game. Can you beat that?`,
  copied: "Copied. Paste it wherever you like.",
  seeBoard: "See the whole board",

  // For operators
  admin: {
    title: "Operators",
    forbiddenTitle: "For operators only",
    forbiddenText: "This account has no right to see this. On the server's machine somebody can grant it:",
    somebodyElse: "Log in as somebody else",
    notFound: "There is no such player or session.",
    toOverview: "← Overview",
    toPlayer: "← Player",
    connections: "Live connections",
    playing: "Players",
    watching: "Spectators",
    actionsASecond: "Actions a second",
    now: "now",
    commits: "Commit latency",
    staleness: "Board staleness",
    behind: "The boards may be behind: a store does not answer.",
    players: "Players",
    player: "Player",
    email: "Email",
    registered: "Registered",
    state: "State",
    offBoards: "off the boards",
    operator: "Operator",
    deleted: "deleted account",
    find: "Find players by name, email or number",
    findButton: "Find",
    nobody: "Nobody found.",
    logins: "Logins",
    sessions: "Sessions",
    session: "Session, step by step",
    started: "Started",
    outcome: "Outcome",
    difficulty: "Difficulty",
    stage: "Game",
    points: "Points",
    /** @type {Record<number, string>} */
    statuses: { 0: "in progress", 1: "finished", 2: "failed", 3: "canceled" },
    entries: "Best entries",
    board: "Board",
    achieved: "Achieved",
    shown: "shown",
    notShown: "not shown",
    steps: "Steps",
    step: "Step",
    time: "Time",
    after: "After",
    /** @type {(seconds: string) => string} */
    seconds: (seconds) => `${seconds} s`,
    score: "Score",
    total: "Total",
    scoredBy: "Scored by",
    byServer: "Server",
    byClient: "Client",
    answer: "Answer",
    /** @type {Record<string, string>} */
    actions: { start: "Start", deal: "Deal", complete: "Complete", close: "Close", cancel: "Cancel" },
    acts: "What operators have done",
    noActs: "Nothing yet.",
    act: "Act",
    reason: "Reason",
    commandLine: "command line",
    /** @type {Record<string, string>} */
    actNames: {
      grant_admin: "made an operator",
      withdraw_admin: "no operator any more",
      take_off_boards: "taken off the boards",
      put_back_on_boards: "put back on the boards",
      revoke_logins: "logins ended",
    },
    more: "Show more",
    cancel: "Cancel",
    takeOff: {
      button: "Take off the boards",
      text: "The player vanishes from every board on every screen at once, and what is played from now on is not shown. Nothing is deleted.",
    },
    putBack: {
      button: "Put back on the boards",
      text: "The player's best entries are shown again on every board.",
    },
    revoke: {
      button: "End all logins",
      text: "The player is logged out everywhere within a second and has to log in again.",
    },
  },
};
