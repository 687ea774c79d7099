/** Plays: who is there, which session is in progress, its stages one after the other, and what came of it. */

import { ServerError } from "/client/braingame.js";

import { make, nameOf } from "./dom.js";
import { GAMES } from "./games/all.js";
import { forget, keep, kept, nameOfStage } from "./progress.js";
import { accountForm } from "./scenes/account-form.js";
import { ask } from "./scenes/ask.js";
import { setUpConnectionBanner } from "./scenes/connection-banner.js";
import { Countdown } from "./scenes/countdown.js";
import { Places } from "./scenes/places.js";
import { ServerClock } from "./server-clock.js";
import texts, { language, writeTexts } from "./texts.js";
import { setUpTheme } from "./theme.js";
import { openGame } from "./visit.js";

/** @typedef {import("/client/messages.js").SessionData} SessionData */
/** @typedef {import("/client/messages.js").StageData} StageData */

const IN_PROGRESS = 0;
const FINISHED = 1;
const CANCELED = 3;
const DIFFICULTY_KEY = "braingame.difficulty";
const MAX_DIFFICULTY = 9;

const scene = element("scene");
const told = element("told");
const numbers = new Intl.NumberFormat(language);

writeTexts();
setUpTheme(element("theme"), texts);
const { game, resumed } = openGame();
const clock = new ServerClock(game);
const places = new Places(game, texts, numbers);
/** Ends what runs in the scene that is shown. */
let leave = () => {};
/** Where the session was when the scene was shown. */
let shownAt = "";
/** What this page is doing itself with the session: a change of it is no news then. */
let acting = 0;
setUpConnectionBanner(element("banner"), game, texts);

game.addEventListener("loggedout", (event) => {
  places.unfollow();
  forget();
  showEntrance(/** @type {CustomEvent} */ (event).detail === null ? "" : texts.loggedOut);
});
game.addEventListener("session", () => {
  // Played on another device, or in another tab. A deal alone changes nothing that is shown.
  if (acting === 0 && game.user !== null && whereabouts() !== shownAt) {
    showSession();
  }
});

if (resumed === null) {
  showEntrance("");
} else {
  acting += 1;
  resumed.then(
    () => enter(false),
    () => {}, // `loggedout` has said it
  );
}

/** @param {string} note */
function showEntrance(note) {
  show("entrance", accountForm(game, texts, { isNew: note === "" && resumed === null, note, done: () => enter(true) }));
  element("who").textContent = "";
}

/** @param {boolean} isFirst go straight into the first game */
function enter(isFirst) {
  acting = 0;
  element("who").replaceChildren(nameOf(String(game.user?.username)));
  places.follow();
  if (isFirst && game.session === null) {
    void start(0);
  } else {
    showSession();
  }
}

/** Whatever the session is at. */
function showSession() {
  const session = game.session;
  if (session === null || session.sessionStatus !== IN_PROGRESS) {
    showReady(session);
  } else if (kept(stageOf(session)) !== null) {
    void playStage();
  } else {
    showInProgress(session);
  }
}

/** @param {SessionData | null} last */
function showReady(last) {
  const chosen = Number(remembered(DIFFICULTY_KEY) ?? 0);
  const output = make("output", { for: "difficulty", class: "chosen" }, String(chosen));
  const range = make("input", {
    ...{ id: "difficulty", type: "range", min: 0, max: MAX_DIFFICULTY, step: 1, value: chosen },
    "aria-describedby": "difficulty-hint",
    oninput: () => {
      output.textContent = range.value;
    },
  });
  show(
    "ready",
    make(
      "section",
      { class: "card", "aria-labelledby": "title" },
      title(last?.sessionStatus === CANCELED ? texts.canceledTitle : texts.readyTitle),
      make("p", { class: "muted" }, last?.sessionStatus === CANCELED ? texts.canceledText : texts.readyText),
      make(
        "div",
        { class: "field" },
        make("label", { for: "difficulty" }, texts.chooseDifficulty, " ", output),
        range,
        make("p", { class: "ends", "aria-hidden": "true" }, make("span", {}, texts.easiest), make("span", {}, texts.hardest)),
        make("p", { id: "difficulty-hint", class: "field-note" }, texts.difficultyHint),
      ),
      button(texts.startSession, () => start(Number(range.value)), "primary wide"),
      button(texts.logout, () => game.logout().catch(showProblem), "quiet"),
    ),
    places.all(),
  );
}

/** @param {SessionData} session */
function showInProgress(session) {
  const { sessionStage, sessionStageCount, sessionTotalScore } = session;
  show(
    "in-progress",
    make(
      "section",
      { class: "card", "aria-labelledby": "title" },
      title(texts.inProgressTitle),
      make(
        "p",
        { class: "muted" },
        texts.inProgressText(Number(sessionStage) + 1, Number(sessionStageCount), numbers.format(Number(sessionTotalScore))),
      ),
      button(texts.goOn, () => showIntroduction(), "primary wide"),
      button(texts.giveUp, giveUp, "quiet"),
    ),
  );
}

/** @param {number} difficulty */
async function start(difficulty) {
  remember(DIFFICULTY_KEY, String(difficulty));
  forget();
  await act(() => game.start({ difficulty }));
  showIntroduction();
}

/** What comes next, before its clock runs. */
function showIntroduction() {
  const session = /** @type {SessionData} */ (game.session);
  const name = gameAt(Number(session.sessionStage));
  const words = texts.games[name];
  show(
    "introduction",
    make(
      "section",
      { class: "card", "aria-labelledby": "title" },
      make("p", { class: "overline" }, texts.stageOf(Number(session.sessionStage) + 1, Number(session.sessionStageCount))),
      title(words.name),
      make("p", { class: "rule" }, words.rule),
      make("p", { class: "muted" }, words.hint),
      button(texts.begin, playStage, "primary wide"),
      button(texts.giveUp, giveUp, "quiet"),
    ),
  );
}

async function playStage() {
  show("dealing", make("p", { class: "muted" }, texts.dealing));
  const [stage] = await act(() => Promise.all([game.deal(), clock.set()]));
  const mini = GAMES[stage.game];
  if (mini === undefined) {
    show("unknown", make("p", { class: "message" }, texts.unknownGame));
    return;
  }
  const name = nameOfStage(stage);
  const held = kept(name) ?? { stage: name, key: newKey(), work: null };
  keep(held);
  const countdown = new Countdown(clock, stage, {
    say: (seconds) => say(texts.secondsLeft(seconds)),
    over: () => void finish(),
  });
  const place = make("div", { class: "game" });
  const heading = texts.games[/** @type {keyof typeof texts.games} */ (stage.game)].name;
  show("stage", headUpDisplay(heading, countdown), place, stageActions());
  const playing = mini.play(place, {
    puzzle: stage.puzzle,
    work: held.work,
    texts,
    shownForMs: clock.now() - Date.parse(stage.dealtAt),
    keep: (work) => keep({ ...held, work }),
    say,
    done: () => void finish(),
  });
  let isOver = false;
  leave = () => {
    isOver = true;
    countdown.stop();
    playing.stop();
  };

  async function finish() {
    if (isOver) {
      return;
    }
    const answer = playing.answer();
    leave();
    show("sending", make("p", { class: "muted" }, texts.sending));
    const outcome = await act(() => game.answer(answer, { key: held.key }));
    forget();
    showOutcome(stage, answer, outcome);
  }
}

/**
 * @param {string} heading
 * @param {Countdown} countdown
 */
function headUpDisplay(heading, countdown) {
  const { sessionStage, sessionStageCount, sessionTotalScore } = /** @type {SessionData} */ (game.session);
  /** @type {(label: string, value: Node) => HTMLElement} */
  const figure = (label, value) => make("div", {}, make("dt", {}, label), make("dd", {}, value));
  return make(
    "div",
    { class: "hud" },
    make(
      "div",
      {},
      make("p", { class: "overline" }, texts.stageOf(Number(sessionStage) + 1, Number(sessionStageCount))),
      title(heading),
    ),
    make(
      "dl",
      {},
      figure(texts.pointsSoFar, document.createTextNode(numbers.format(Number(sessionTotalScore)))),
      figure(texts.placeToday, places.chip()),
      figure(texts.timeLeft, countdown.element),
    ),
  );
}

function stageActions() {
  return make("div", { class: "leaving" }, button(texts.failStage, failHere, "quiet"), button(texts.giveUp, giveUp, "quiet"));
}

/**
 * @param {StageData} stage
 * @param {Record<string, unknown>} answer
 * @param {SessionData} outcome
 */
function showOutcome(stage, answer, outcome) {
  const verdict = String(outcome.verdict);
  const hasEnded = outcome.sessionStatus !== IN_PROGRESS;
  const score = Number(outcome.stageScore);
  const total = Number(outcome.sessionTotalScore);
  show(
    "outcome",
    make(
      "section",
      { class: "card", "aria-labelledby": "title" },
      make("p", { class: "overline" }, texts.games[/** @type {keyof typeof texts.games} */ (stage.game)].name),
      title(hasEnded ? (outcome.sessionStatus === FINISHED ? texts.finishedTitle : texts.endedTitle) : String(texts.verdicts[verdict])),
      make("p", { class: "earned", "data-verdict": verdict }, texts.earned(numbers.format(score))),
      ...(GAMES[stage.game]?.review(stage.puzzle, answer, texts) ?? []),
      verdict === "late" && make("p", { class: "muted" }, texts.lateText),
      verdict === "failed" && make("p", { class: "muted" }, texts.failedText),
      make("dl", { class: "total" }, make("dt", {}, texts.total), make("dd", {}, numbers.format(total))),
      !hasEnded && places.outlook(total),
      hasEnded ? endActions(total) : button(texts.nextStage, () => showIntroduction(), "primary wide"),
    ),
    hasEnded && places.all(),
  );
  say(`${texts.verdicts[verdict]}. ${texts.earned(numbers.format(score))}`);
}

/** @param {number} total */
function endActions(total) {
  const note = make("p", { class: "field-note", role: "status" });
  const share = async () => {
    const message = { text: texts.shareText(numbers.format(total)), url: location.origin };
    if (navigator.share !== undefined) {
      await navigator.share(message).catch(() => {}); // thought better of it
      return;
    }
    try {
      await navigator.clipboard.writeText(`${message.text} ${message.url}`);
      note.textContent = texts.copied;
    } catch {
      note.textContent = `${message.text} ${message.url}`; // a page without TLS may not write to the clipboard
    }
  };
  return make(
    "div",
    { class: "stack" },
    button(texts.playAgain, () => showReady(null), "primary wide"),
    make("div", { class: "actions" }, button(texts.share, share), make("a", { class: "button", href: "/leaderboard?board=daily" }, texts.seeBoard)),
    note,
  );
}

async function giveUp() {
  if (await ask(texts.giveUpSure, texts.giveUpYes, texts.giveUpNo)) {
    leave();
    forget();
    await act(() => game.cancel());
    showReady(game.session);
  }
}

async function failHere() {
  if (await ask(texts.failSure, texts.failYes, texts.giveUpNo)) {
    leave();
    forget();
    const session = await act(() => game.fail(0));
    show(
      "outcome",
      make(
        "section",
        { class: "card", "aria-labelledby": "title" },
        title(texts.endedTitle),
        make("dl", { class: "total" }, make("dt", {}, texts.total), make("dd", {}, numbers.format(Number(session.sessionTotalScore)))),
        endActions(Number(session.sessionTotalScore)),
      ),
      places.all(),
    );
  }
}

/**
 * Something with the session that this page wants. What the server refuses shows the session as it is.
 *
 * @template T
 * @param {() => Promise<T>} work
 * @returns {Promise<T>} never settled when it was refused
 */
async function act(work) {
  acting += 1;
  try {
    return await work();
  } catch (error) {
    showProblem(error);
    return new Promise(() => {});
  } finally {
    acting -= 1;
  }
}

/** @param {unknown} error */
function showProblem(error) {
  if (game.user === null) {
    return; // the entrance is shown
  }
  const text = error instanceof ServerError ? texts.errors[error.code] : undefined;
  if (error instanceof ServerError && error.code !== "too_fast") {
    forget();
  }
  show(
    "problem",
    make(
      "section",
      { class: "card" },
      make("p", { role: "alert" }, text ?? texts.errorElse),
      button(texts.goOn, () => showSession(), "primary"),
    ),
  );
}

/**
 * @param {string} name
 * @param {(Node | false)[]} content
 */
function show(name, ...content) {
  leave();
  leave = () => {};
  shownAt = whereabouts();
  scene.dataset.scene = name;
  scene.replaceChildren(...content.filter((node) => node !== false));
  scene.querySelector("h1")?.focus({ preventScroll: true });
  scrollTo(0, 0);
}

/** @param {string} text */
function title(text) {
  return make("h1", { id: "title", tabindex: -1 }, text);
}

/**
 * @param {string} text
 * @param {() => unknown} pressed
 * @param {string} [more]
 */
function button(text, pressed, more = "") {
  const kind = more.includes("quiet") ? more : `button ${more}`;
  return make("button", { type: "button", class: kind, onclick: () => void pressed() }, text);
}

/** @param {string} text */
function say(text) {
  told.textContent = text;
}

/**
 * The server deals them in this order.
 *
 * @param {number} stage
 */
function gameAt(stage) {
  const names = /** @type {(keyof typeof texts.games)[]} */ (Object.keys(texts.games));
  return names[stage % names.length] ?? "sequence";
}

/** @param {SessionData} session */
function stageOf(session) {
  return nameOfStage({ sessionId: String(session.sessionId), stage: Number(session.sessionStage) });
}

function whereabouts() {
  return game.session === null ? "" : `${stageOf(game.session)}/${game.session.sessionStatus}`;
}

function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {string} key */
function remembered(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

/**
 * @param {string} key
 * @param {string} value
 */
function remember(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Storage may be switched off.
  }
}

/**
 * @param {string} id
 * @returns {HTMLElement}
 */
function element(id) {
  const found = document.getElementById(id);
  if (found === null) {
    throw new Error(`The page has no #${id}.`);
  }
  return found;
}
