/** Elements in one expression. */

/**
 * @typedef {string | Node | null | undefined | false} Child nothing is made of null, undefined and false
 * @typedef {Record<string, string | number | boolean | null | undefined | ((event: any) => void)>} Attributes a function is a
 *   listener (`onclick`); true is an attribute without a value, false, null and undefined are none
 */

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Attributes} [attributes]
 * @param {Child[]} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/**
 * @param {string} tag
 * @param {Attributes} [attributes]
 * @param {Child[]} children
 * @returns {SVGElement}
 */
export function draw(tag, attributes = {}, ...children) {
  return fill(/** @type {SVGElement} */ (document.createElementNS("http://www.w3.org/2000/svg", tag)), attributes, children);
}

/**
 * A player's name, isolated, so that one written from right to left does not turn what is around it.
 *
 * @param {string} name
 */
export function nameOf(name) {
  return make("bdi", { dir: "auto", class: "player" }, name);
}

/**
 * @template {Element} E
 * @param {E} element
 * @param {Attributes} attributes
 * @param {Child[]} children
 * @returns {E}
 */
function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") {
      element.addEventListener(name.slice(2), value);
    } else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}
