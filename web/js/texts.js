/** The language of the page: chosen with the switch, or else the browser's. Another language is a file and a line here. */

import { pick } from "./language-choice.js";
import en from "./texts.en.js";
import uk from "./texts.uk.js";

/** By the language's code. @type {Record<string, typeof en>} */
const ALL = { en, uk };
const KEY = "braingame.language";

export const language = pick(Object.keys(ALL), kept(), navigator.languages ?? []);
const texts = ALL[language] ?? en;
export default texts;

/** Write the texts that stand in the page, and offer the other language. */
export function writeTexts() {
  document.documentElement.lang = language;
  const all = /** @type {Record<string, unknown>} */ (texts);
  for (const part of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-text]"))) {
    part.textContent = String(all[part.dataset.text ?? ""]);
  }
  for (const part of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-label]"))) {
    part.setAttribute("aria-label", String(all[part.dataset.label ?? ""]));
  }
  const button = document.getElementById("language");
  if (button !== null) {
    const codes = Object.keys(ALL);
    const next = codes[(codes.indexOf(language) + 1) % codes.length] ?? "en";
    const { languageName, languageShort } = ALL[next] ?? en;
    button.textContent = languageShort;
    button.title = languageName;
    button.lang = next;
    button.hidden = false;
    button.addEventListener("click", () => {
      keep(next);
      location.reload();
    });
  }
}

function kept() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // storage may be switched off
  }
}

/** @param {string} code */
function keep(code) {
  try {
    localStorage.setItem(KEY, code);
  } catch {
    // Then the browser's language stays.
  }
}
