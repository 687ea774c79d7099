/** In a browser: when somebody looks at the page again, or the network is back, the connection need not wait. */

/** @param {import("./socket.js").LiveSocket} socket */
export function hurryWhenSeen(socket) {
  if (typeof document === "undefined") {
    return;
  }
  const ended = new AbortController();
  const { signal } = ended;
  addEventListener("online", () => socket.hurry(), { signal });
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && socket.hurry(), { signal });
  socket.addEventListener("closed", () => ended.abort());
}
