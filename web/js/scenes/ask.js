/** A question with two answers, over the page. */

import { make } from "../dom.js";

/**
 * @param {string} question
 * @param {string} yes
 * @param {string} no
 * @returns {Promise<boolean>}
 */
export function ask(question, yes, no) {
  return new Promise((resolve) => {
    const dialog = make(
      "dialog",
      { class: "card", "aria-labelledby": "question", onclose: () => finish() },
      make("p", { id: "question" }, question),
      make(
        "form",
        { method: "dialog", class: "actions" },
        make("button", { class: "button", value: "no", autofocus: true }, no),
        make("button", { class: "button danger", value: "yes" }, yes),
      ),
    );
    const finish = () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    };
    document.body.append(dialog);
    dialog.showModal();
  });
}
