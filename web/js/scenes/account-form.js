/** One small form to register or to log in, with errors beside the fields. */

import { ConnectionLost, ServerError } from "/client/braingame.js";

import { make } from "../dom.js";

/** @typedef {typeof import("../texts.en.js").default} Texts */
/** @typedef {"username" | "email" | "password"} FieldName */

/** The server's codes that are about one field. @type {Record<string, FieldName>} */
const FIELD_OF = { email_taken: "email", username_taken: "username", invalid_credentials: "password" };

/**
 * @param {import("/client/game.js").Game} game
 * @param {Texts} texts
 * @param {{isNew?: boolean, canRegister?: boolean, note?: string, done: () => void}} options
 * @returns {HTMLElement}
 */
export function accountForm(game, texts, { isNew = true, canRegister = true, note = "", done }) {
  const root = make("section", { class: "card entrance", "aria-labelledby": "account-title" });
  show(isNew && canRegister, "");
  return root;

  /**
   * @param {boolean} registering
   * @param {string} typed an email that was typed in the other form
   */
  function show(registering, typed) {
    const fields = {
      ...(registering && { username: field("username", "text", "nickname", "") }),
      email: field("email", "email", "email", typed),
      password: field("password", "password", registering ? "new-password" : "current-password", ""),
    };
    const problem = make("p", { class: "problem", role: "alert" }, note);
    const submit = make("button", { class: "button primary wide" }, registering ? texts.registerButton : texts.loginButton);
    const other = make(
      "button",
      { type: "button", class: "quiet", onclick: () => show(!registering, fields.email.input.value) },
      registering ? texts.toLogin : texts.toRegister,
    );
    const form = make(
      "form",
      { novalidate: true, onsubmit: (/** @type {Event} */ event) => void send(event) },
      make("h1", { id: "account-title", tabindex: -1 }, registering ? texts.registerTitle : texts.loginTitle),
      registering && make("p", { class: "muted" }, texts.registerText),
      ...Object.values(fields).map(({ element }) => element),
      problem,
      submit,
      canRegister && other,
    );
    root.replaceChildren(form);

    /** @param {Event} event */
    async function send(event) {
      event.preventDefault();
      problem.textContent = "";
      const given = Object.values(fields);
      given.forEach(({ complain }) => complain(""));
      const empty = given.filter(({ input }) => input.value.trim() === "");
      empty.forEach(({ complain }) => complain(texts.required));
      if (empty[0] !== undefined) {
        empty[0].input.focus();
        return;
      }
      const [email, password] = [fields.email.input.value.trim(), fields.password.input.value];
      submit.disabled = true;
      try {
        await (registering
          ? game.register({ email, password, username: String(fields.username?.input.value) })
          : game.login({ email, password }));
        done();
      } catch (error) {
        explain(error);
      } finally {
        submit.disabled = false;
      }
    }

    /** @param {unknown} error */
    function explain(error) {
      if (error instanceof ServerError && error.code === "invalid") {
        for (const { path } of error.fields) {
          fields[/** @type {FieldName} */ (path)]?.complain(texts.fieldWrong[/** @type {FieldName} */ (path)]);
        }
      } else if (error instanceof ServerError) {
        const about = fields[/** @type {FieldName} */ (FIELD_OF[error.code])];
        const text = texts.errors[error.code] ?? texts.errorElse;
        if (about === undefined) {
          problem.textContent = text;
        } else {
          about.complain(text);
        }
      } else {
        problem.textContent = error instanceof ConnectionLost ? texts.answerLost : texts.errorElse;
      }
      Object.values(fields)
        .find(({ input }) => input.getAttribute("aria-invalid") === "true")
        ?.input.focus();
    }
  }

  /**
   * @param {FieldName} name
   * @param {string} type
   * @param {string} autocomplete
   * @param {string} value
   */
  function field(name, type, autocomplete, value) {
    const id = `account-${name}`;
    const input = make("input", { id, name, type, autocomplete, value, required: true, "aria-describedby": `${id}-note` });
    const hint = name === "password" && autocomplete === "new-password" ? texts.passwordHint : "";
    const text = make("p", { id: `${id}-note`, class: "field-note" }, hint);
    /** @param {string} complaint */
    const complain = (complaint) => {
      text.textContent = complaint || hint;
      text.classList.toggle("wrong", complaint !== "");
      input.setAttribute("aria-invalid", String(complaint !== ""));
    };
    return { element: make("div", { class: "field" }, make("label", { for: id }, texts[name]), input, text), input, complain };
  }
}
