/**
 * Why a request has no result.
 *
 * @typedef {import("./messages.js").ErrorData} ErrorData
 * @typedef {import("./messages.js").FieldData} FieldData
 * @typedef {import("./messages.js").SessionData} SessionData
 */

/** The server's answer was an error. `code` is for programs, `message` for a person. */
export class ServerError extends Error {
  /** @param {{code: string, session?: SessionData | null} & Partial<Omit<ErrorData, "code" | "session">>} data */
  constructor({ code, message, retryable = false, retryAfterMs, fields = [], session = null }) {
    super(message);
    this.name = "ServerError";
    /** One of the list in docs/protocol.md. A newer server may know more. @type {string} */
    this.code = code;
    /** Whether the same request may succeed later. @type {boolean} */
    this.retryable = retryable;
    /** @type {number | undefined} */
    this.retryAfterMs = retryAfterMs;
    /** Which fields were wrong. @type {FieldData[]} */
    this.fields = fields;
    /** The session as it is, with `session_not_active`. @type {SessionData | null} */
    this.session = session;
  }
}

/** The connection went before the answer came. Whether the request was done is not known if it was `sent`. */
export class ConnectionLost extends Error {
  /** @param {boolean} [sent] */
  constructor(sent = false) {
    super(sent ? "The connection was lost before the answer came." : "There is no connection.");
    this.name = "ConnectionLost";
    this.sent = sent;
  }
}
