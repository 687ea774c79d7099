/** Puts a page together: which board the address asks for, its feed, its view, and whether it is live. */

import { BoardFeed } from "./board-feed.js";
import { BoardView } from "./board-view.js";
import { LiveSocket, socketUrl } from "./socket.js";
import texts from "./texts.en.js";
import { setUpTheme } from "./theme.js";

const LIMITS = [10, 25, 50, 100];
const PERIODS = ["all-time", "weekly", "daily"];
/** A screen reader is told who leads, but not at every change. */
const ANNOUNCE_MS = 15_000;

const element = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const board = query.get("board") ?? "all-time";
const limit = LIMITS.includes(Number(query.get("limit"))) ? Number(query.get("limit")) : LIMITS[0];
const numbers = new Intl.NumberFormat(document.documentElement.lang);
const clock = new Intl.DateTimeFormat(document.documentElement.lang, { hour: "2-digit", minute: "2-digit", hour12: false });

setUpTheme(element("theme"), texts);
nameBoard();
fillPlaceholders();

const socket = new LiveSocket(socketUrl(location));
const feed = new BoardFeed(socket, board, limit);
const view = new BoardView(element("board"), texts);
let lastLive = null;
let announcedAt = -Infinity;

feed.addEventListener("state", () => {
  const { entries, total } = feed.state;
  view.show(entries);
  element("board").setAttribute("aria-busy", "false");
  element("total").textContent = texts.players(total, numbers.format(total));
  announce(entries[0], total);
});
feed.addEventListener("live", () => {
  lastLive = null;
  showStatus("live", texts.live);
});
feed.addEventListener("stale", () => {
  lastLive ??= new Date();
  showStatus("stale", feed.state === null ? texts.connecting : texts.notLiveSince(clock.format(lastLive)));
});
feed.addEventListener("unknown", () => {
  element("board").hidden = true;
  element("status").hidden = true;
  const message = element("message");
  message.hidden = false;
  message.textContent = `${texts.unknownBoard} `;
  const link = document.createElement("a");
  link.href = location.pathname;
  link.textContent = texts.allTime;
  message.append(link);
});
socket.open();

function nameBoard() {
  const [period, difficulty] = board.split(":");
  const name = texts.board[PERIODS.includes(period) ? period : "all-time"];
  const title = difficulty === undefined ? name : `${name}, ${texts.board.difficulty(difficulty)}`;
  element("board-name").textContent = title;
  document.title = `${title} – ${document.title}`;
  for (const link of document.querySelectorAll("[data-period]")) {
    const target = new URLSearchParams(query);
    target.set("board", difficulty === undefined ? link.dataset.period : `${link.dataset.period}:${difficulty}`);
    link.href = `${location.pathname}?${target}`;
    if (link.dataset.period === period) {
      link.setAttribute("aria-current", "page");
    }
  }
}

/** Rows of the right height while the first state is on its way, so that nothing jumps. */
function fillPlaceholders() {
  for (let index = 0; index < limit; index += 1) {
    const row = document.createElement("li");
    row.className = "row placeholder";
    row.dataset.placeholder = "";
    row.setAttribute("aria-hidden", "true");
    element("board").append(row);
  }
}

function showStatus(state, text) {
  const status = element("status");
  status.dataset.state = state;
  if (status.textContent !== text) {
    status.textContent = text;
  }
}

function announce(leader, total) {
  const now = performance.now();
  if (leader !== undefined && now - announcedAt > ANNOUNCE_MS) {
    announcedAt = now;
    const players = texts.players(total, numbers.format(total));
    element("summary").textContent = texts.leader(leader.username, numbers.format(leader.totalScore), players);
  }
}
