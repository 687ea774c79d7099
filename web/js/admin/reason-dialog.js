/** Asks an operator why, before something is done. */

import { make } from "../dom.js";

const MOST = 500;

/**
 * @param {typeof import("../texts.en.js").default} texts
 * @param {{title: string, text: string, button: string, act: (reason: string) => Promise<void>}} what `act` rejects with
 *   what is told beside the field
 * @returns {Promise<boolean>} whether it was done
 */
export function askReason(texts, { title, text, button, act }) {
  return new Promise((resolve) => {
    let isDone = false;
    const note = make("p", { id: "reason-note", class: "field-note" });
    const field = make("textarea", {
      ...{ id: "reason", rows: 3, maxlength: MOST, required: true, "aria-describedby": "reason-note" },
    });
    const submit = make("button", { class: "button danger" }, button);
    const dialog = make(
      "dialog",
      { class: "card", "aria-labelledby": "reason-title", onclose: () => finish() },
      make(
        "form",
        { novalidate: true, onsubmit: (/** @type {Event} */ event) => void send(event) },
        make("h2", { id: "reason-title" }, title),
        make("p", {}, text),
        make("div", { class: "field" }, make("label", { for: "reason" }, texts.admin.reason), field, note),
        make(
          "div",
          { class: "actions" },
          make("button", { type: "button", class: "button", onclick: () => dialog.close() }, texts.admin.cancel),
          submit,
        ),
      ),
    );

    /** @param {Event} event */
    async function send(event) {
      event.preventDefault();
      if (field.value.trim() === "") {
        complain(texts.required);
        return;
      }
      submit.disabled = true;
      try {
        await act(field.value);
        isDone = true;
        dialog.close();
      } catch (error) {
        complain(error instanceof Error ? error.message : texts.errorElse);
      } finally {
        submit.disabled = false;
      }
    }

    /** @param {string} complaint */
    function complain(complaint) {
      note.textContent = complaint;
      note.classList.add("wrong");
      field.setAttribute("aria-invalid", "true");
      field.focus();
    }

    function finish() {
      dialog.remove();
      resolve(isDone);
    }

    document.body.append(dialog);
    dialog.showModal();
  });
}
