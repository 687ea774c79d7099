/** The operators' page: how this server is, who plays, what somebody did step by step, and what operators do about it. */

import { Api, ApiError } from "./admin/api.js";
import { Chart } from "./admin/chart.js";
import { askReason } from "./admin/reason-dialog.js";
import { Views } from "./admin/views.js";
import { make } from "./dom.js";
import { accountForm } from "./scenes/account-form.js";
import { StatusMark } from "./status-mark.js";
import texts, { language, writeTexts } from "./texts.js";
import { setUpTheme } from "./theme.js";
import { openGame } from "./visit.js";

const POLL_MS = 2000;
const RETRY_MS = 2000;
const SAMPLES = 300;
const ACTS_A_PAGE = 50;

const words = texts.admin;
const scene = element("scene");
const status = new StatusMark(element("status"), texts, language);
const numbers = new Intl.NumberFormat(language, { maximumFractionDigits: 1 });

writeTexts();
setUpTheme(element("theme"), texts);
document.title = `${words.title} – ${texts.game}`;
const { game, resumed } = openGame();
const api = new Api(game);
const views = new Views(texts, language);
/** Counts what was shown: an answer for what is not shown any more is dropped. */
let round = 0;
/** @type {number | null} */
let heardAt = null;

game.addEventListener("loggedout", (event) => {
  showEntrance(/** @type {CustomEvent} */ (event).detail === null ? "" : texts.loggedOut);
});
addEventListener("popstate", () => void show());
document.addEventListener("click", (event) => {
  const link = event.target instanceof Element ? event.target.closest("a") : null;
  const isPlain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey;
  if (link !== null && isPlain && link.pathname === location.pathname && link.origin === location.origin) {
    event.preventDefault();
    go(link.search);
  }
});

if (resumed === null) {
  showEntrance("");
} else {
  resumed.then(
    () => show(),
    () => {}, // `loggedout` has said it
  );
}

/** @param {string} search what of the page is looked at */
function go(search) {
  history.pushState(null, "", `${location.pathname}${search}`);
  void show();
}

/** @param {string} note */
function showEntrance(note) {
  round += 1;
  put(accountForm(game, texts, { canRegister: false, note, done: () => void show() }));
}

/** What the address says. */
async function show() {
  round += 1;
  if (game.user === null) {
    return;
  }
  const query = new URLSearchParams(location.search);
  const [player, session] = [query.get("player"), query.get("session")];
  if (player !== null && session !== null) {
    await load(
      () => api.get(`players/${encodeURIComponent(player)}/sessions/${encodeURIComponent(session)}`),
      ({ steps }) => showSession(player, steps),
    );
  } else if (player !== null) {
    await load(() => api.get(`players/${encodeURIComponent(player)}`), showPlayer);
  } else {
    await load(() => api.get("figures"), showOverview);
  }
}

/**
 * Ask until there is an answer, as long as nothing else is wanted.
 *
 * @template T
 * @param {() => Promise<T>} ask
 * @param {(answer: T) => void} use
 */
async function load(ask, use) {
  const mine = round;
  while (mine === round) {
    try {
      const answer = await ask();
      if (mine === round) {
        isHeard();
        use(answer);
      }
      return;
    } catch (error) {
      if (mine !== round || !isPassing(error)) {
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

function isHeard() {
  heardAt = Date.now();
  status.live();
}

/**
 * Whether it may be tried again; if not, the page says what is the matter.
 *
 * @param {unknown} error
 */
function isPassing(error) {
  if (!(error instanceof ApiError)) {
    throw error;
  }
  if (error.status === 403) {
    showForbidden();
  } else if (error.status === 401 && game.tokens === null) {
    showEntrance(texts.loggedOut);
  } else if (error.status === 404 || error.status === 400) {
    put(back(), title(words.notFound));
  } else {
    status.stale(heardAt);
    return true; // away, or a token that is being renewed
  }
  return false;
}

function showForbidden() {
  round += 1;
  put(
    make(
      "section",
      { class: "card", "aria-labelledby": "title" },
      title(words.forbiddenTitle),
      make("p", {}, words.forbiddenText),
      make("code", {}, "python run_server.py grant-admin EMAIL"),
      make("button", { type: "button", class: "button", onclick: () => void game.logout() }, words.somebodyElse),
    ),
  );
}

/** @param {{samples: any[]}} figures */
function showOverview({ samples }) {
  const milliseconds = (/** @type {number} */ value) => `${numbers.format(value)} ms`;
  const plain = (/** @type {number} */ value) => numbers.format(value);
  const charts = [
    new Chart(
      words.connections,
      [
        { name: words.playing, of: ({ players }) => players },
        { name: words.watching, of: ({ spectators }) => spectators },
      ],
      plain,
      SAMPLES,
    ),
    new Chart(words.actionsASecond, [{ name: words.now, of: ({ actions }) => actions }], plain, SAMPLES),
    new Chart(
      words.commits,
      [
        { name: "p50", of: ({ commitP50Ms }) => commitP50Ms },
        { name: "p99", of: ({ commitP99Ms }) => commitP99Ms },
      ],
      milliseconds,
      SAMPLES,
    ),
    new Chart(words.staleness, [{ name: words.now, of: ({ boardStalenessMs }) => boardStalenessMs }], milliseconds, SAMPLES),
  ];
  const behind = make("p", { class: "warned", role: "status" });
  const draw = (/** @type {any[]} */ all) => {
    charts.forEach((chart) => chart.show(all));
    behind.textContent = all.at(-1)?.boardsBehind ? words.behind : "";
  };
  const acts = make("div", { class: "stack" });
  put(
    title(words.title),
    behind,
    make("div", { class: "charts" }, ...charts.map(({ element }) => element)),
    search(),
    acts,
  );
  draw(samples);
  void poll(draw);
  void showActs(acts, []);
}

/** @param {(samples: any[]) => void} draw */
async function poll(draw) {
  const mine = round;
  while (mine === round) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    if (mine !== round || document.hidden) {
      continue;
    }
    try {
      const { samples } = await api.get("figures");
      if (mine === round) {
        isHeard();
        draw(samples);
      }
    } catch (error) {
      if (mine !== round || !isPassing(error)) {
        return;
      }
    }
  }
}

function search() {
  const found = make("div", { "aria-live": "polite" });
  const input = make("input", { id: "find", type: "search", autocomplete: "off" });
  const send = async (/** @type {Event} */ event) => {
    event.preventDefault();
    await load(
      () => api.get(`players?find=${encodeURIComponent(input.value)}`),
      ({ players }) => found.replaceChildren(views.players(players, (number) => `?player=${number}`)),
    );
  };
  return make(
    "div",
    { class: "stack" },
    make(
      "form",
      { class: "search", role: "search", onsubmit: (/** @type {Event} */ event) => void send(event) },
      make("div", { class: "field" }, make("label", { for: "find" }, words.find), input),
      make("button", { class: "button" }, words.findButton),
    ),
    found,
  );
}

/**
 * @param {HTMLElement} place
 * @param {any[]} shown
 */
async function showActs(place, shown) {
  const before = shown.at(-1)?.id;
  await load(
    () => api.get(before === undefined ? "acts" : `acts?before=${before}`),
    ({ acts }) => {
      const all = [...shown, ...acts];
      place.replaceChildren(views.acts(all));
      if (acts.length === ACTS_A_PAGE) {
        place.append(
          make("button", { type: "button", class: "button", onclick: () => void showActs(place, all) }, words.more),
        );
      }
    },
  );
}

/** @param {any} details */
function showPlayer(details) {
  const { player } = details;
  const heading = make("h1", { id: "title", tabindex: -1 }, views.who(player));
  /** @type {(path: string, wording: {button: string, text: string}) => HTMLElement} */
  const act = (path, { button, text }) =>
    make("button", { type: "button", class: "button", onclick: () => void doIt(path, button, text) }, button);
  const doIt = async (/** @type {string} */ path, /** @type {string} */ button, /** @type {string} */ text) => {
    const isDone = await askReason(texts, {
      title: button,
      text,
      button,
      act: async (reason) => {
        try {
          await api.post(`players/${player.number}/${path}`, { reason });
        } catch (error) {
          throw new Error(explain(error));
        }
      },
    });
    if (isDone) {
      await show();
    }
  };
  put(
    back(),
    heading,
    make(
      "div",
      { class: "actions" },
      player.offBoards ? act("put-back-on-boards", words.putBack) : act("take-off-boards", words.takeOff),
      act("revoke-logins", words.revoke),
    ),
    ...views.details(details, (session) => `?player=${player.number}&session=${session}`),
  );
}

/**
 * @param {string} player
 * @param {any[]} steps
 */
function showSession(player, steps) {
  put(
    make("p", {}, make("a", { class: "back", href: `?player=${encodeURIComponent(player)}` }, words.toPlayer)),
    title(words.session),
    views.steps(steps),
  );
}

function back() {
  return make("p", {}, make("a", { class: "back", href: location.pathname }, words.toOverview));
}

/** @param {unknown} error */
function explain(error) {
  if (!(error instanceof ApiError)) {
    return texts.errorElse;
  }
  return error.fields[0]?.message ?? texts.errors[error.code] ?? texts.errorElse;
}

/** @param {(Node | false)[]} content */
function put(...content) {
  scene.replaceChildren(...content.filter((node) => node !== false));
  scene.querySelector("h1")?.focus({ preventScroll: true });
}

/** @param {string} text */
function title(text) {
  return make("h1", { id: "title", tabindex: -1 }, text);
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
