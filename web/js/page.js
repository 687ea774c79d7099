/** Puts a page together: which board the address asks for, its feed, its view, and whether it is live. */

import { BoardFeed } from "/client/board-feed.js";
import { hurryWhenSeen } from "/client/hurry.js";
import { LiveSocket, socketUrl } from "/client/socket.js";

import { Announcer } from "./announcer.js";
import { formatBoardName, parseBoardName } from "./board-name.js";
import { BoardView } from "./board-view.js";
import { StatusMark } from "./status-mark.js";
import texts, { language, writeTexts } from "./texts.js";
import { setUpTheme } from "./theme.js";

/** @typedef {import("./board-name.js").BoardName} BoardName */

const LIMITS = [10, 25, 50, 100];
const USUAL_LIMIT = 10;
const MAX_DIFFICULTY = 9;

const query = new URLSearchParams(location.search);

writeTexts();
setUpTheme(element("theme"), texts);
const name = parseBoardName(query.get("board") ?? "all-time");
writeLinks(name);
writeLevels(name);
writeJoinCode();
if (name === null) {
  sayUnknown();
} else {
  writeHeading(describe(name));
  follow(name);
}

/** @param {BoardName} name */
function follow(name) {
  const limit = LIMITS.find((limit) => String(limit) === query.get("limit")) ?? USUAL_LIMIT;
  const numbers = new Intl.NumberFormat(language);
  const socket = new LiveSocket(socketUrl(location));
  const feed = new BoardFeed(socket, formatBoardName(name), limit);
  const view = new BoardView(element("board"), texts, numbers, limit);
  const status = new StatusMark(element("status"), texts, language);
  const announcer = new Announcer(element("summary"));

  feed.addEventListener("state", () => {
    const { entries, total } = /** @type {import("/client/board-state.js").BoardState} */ (feed.state);
    const [leader] = entries;
    const players = texts.players(total, numbers.format(total));
    if (feed.live) {
      status.live();
    }
    view.show(entries);
    element("total").textContent = players;
    if (leader !== undefined) {
      announcer.say(texts.leader(leader.username, numbers.format(leader.totalScore), players));
    }
  });
  feed.addEventListener("stale", () => status.stale(feed.state && socket.lastHeardAt));
  feed.addEventListener("unknown", () => {
    socket.close();
    sayUnknown();
  });
  hurryWhenSeen(socket);
  feed.open();
  socket.open();
}

function sayUnknown() {
  for (const part of document.querySelectorAll(".board, .facts, .legend")) {
    part.setAttribute("hidden", "");
  }
  writeHeading(texts.unknownBoardTitle);
  const link = document.createElement("a");
  link.href = location.pathname;
  link.textContent = texts.unknownBoardWayOut;
  const message = element("message");
  message.replaceChildren(texts.unknownBoard, document.createElement("br"), link);
  message.hidden = false;
}

/** @param {BoardName} name */
function describe({ period, difficulty }) {
  const board = texts.board[period];
  return difficulty === null ? board : texts.atDifficulty(board, difficulty);
}

/** @param {string} heading */
function writeHeading(heading) {
  element("board-name").textContent = heading;
  document.title = `${heading} – ${texts.game}`;
}

/**
 * The other boards, with everything else that the address asks for.
 *
 * @param {BoardName | null} name
 */
function writeLinks(name) {
  for (const link of /** @type {NodeListOf<HTMLAnchorElement>} */ (document.querySelectorAll("[data-period]"))) {
    const period = /** @type {import("./board-name.js").Period} */ (link.dataset.period);
    const target = new URLSearchParams(query);
    target.set("board", formatBoardName({ period, difficulty: name?.difficulty ?? null }));
    link.href = `${location.pathname}?${target}`;
    link.textContent = texts.board[period];
    if (name?.period === period) {
      link.setAttribute("aria-current", "page");
    }
  }
  const wall = document.getElementById("wall");
  if (name !== null) {
    wall?.setAttribute("href", `/leaderboard${location.search}`);
  }
}

/**
 * The same board for one difficulty.
 *
 * @param {BoardName | null} name
 */
function writeLevels(name) {
  const select = /** @type {HTMLSelectElement} */ (element("level"));
  select.append(new Option(texts.everyDifficulty, ""));
  for (let difficulty = 0; difficulty <= MAX_DIFFICULTY; difficulty += 1) {
    select.append(new Option(texts.difficulty(difficulty), String(difficulty)));
  }
  select.value = String(name?.difficulty ?? "");
  select.addEventListener("change", () => {
    const target = new URLSearchParams(query);
    const difficulty = select.value === "" ? null : Number(select.value);
    target.set("board", formatBoardName({ period: name?.period ?? "all-time", difficulty }));
    location.search = target.toString();
  });
}

/** On a wall: the way here for everybody's phone. */
function writeJoinCode() {
  const figure = document.getElementById("join");
  if (figure !== null) {
    const image = new Image(96, 96);
    image.alt = `${location.origin}/`;
    image.src = `/qr.svg?url=${encodeURIComponent(`${location.origin}/`)}`;
    figure.prepend(image);
    figure.hidden = false;
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
