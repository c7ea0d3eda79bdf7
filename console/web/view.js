// Elements and texts.

/** Makes an element. Children are elements or texts. */
export function make(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) e.addEventListener(name.slice(2), value);
    else if (value === true) e.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) e.setAttribute(name, value);
  }
  e.append(...children.filter((c) => c !== null && c !== undefined));
  return e;
}

/** Finds the element with an id. */
export const $ = (id) => document.getElementById(id);

/** Sets the text of an element that a screen reader announces, unless it has that text already. */
export function say(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

/** Makes a table. A column is {title, number, cell(row)}. On a narrow screen, each row becomes a card. */
export function table(caption, columns, rows, empty) {
  if (rows.length === 0) return make("p", { class: "empty" }, empty);
  const head = columns.map((c) => make("th", { scope: "col", role: "columnheader", class: c.number ? "number" : null }, c.title));
  const body = rows.map((row) => make("tr", { role: "row" }, ...columns.map((c, i) => {
    const content = c.cell(row);
    const list = Array.isArray(content) ? content : [content];
    const attributes = { "data-title": c.title, class: c.number ? "number" : null };
    if (i === 0) return make("th", { scope: "row", role: "rowheader", ...attributes }, ...list);
    return make("td", { role: "cell", ...attributes }, ...list);
  })));
  return make("table", { role: "table" },
    make("caption", {}, caption),
    make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...head)),
    make("tbody", { role: "rowgroup" }, ...body));
}

/**
 * Replaces the content of an element. What has the same data-key before and after keeps the focus, and stays open if it
 * is a details element. While the mouse is pressed in the element, it stays as it is.
 */
export function renew(parent, ...content) {
  clearTimeout(parent.renewal);
  if (parent.matches(":active")) { // a click has begun, which would be lost
    parent.renewal = setTimeout(renew, 100, parent, ...content);
    return;
  }
  const focused = parent.contains(document.activeElement) ? document.activeElement.closest("[data-key]")?.dataset.key : undefined;
  const onSummary = document.activeElement?.tagName === "SUMMARY";
  const opened = new Set([...parent.querySelectorAll("details[open][data-key]")].map((d) => d.dataset.key));
  parent.replaceChildren(...content);
  reopen(parent, opened);
  if (focused === undefined) return;
  const again = parent.querySelector(`[data-key="${CSS.escape(focused)}"]`);
  (onSummary ? again?.querySelector("summary") : again)?.focus({ preventScroll: true });
}

/** Opens the details whose keys are given, also those that appear when another one opens. */
function reopen(parent, keys) {
  for (const d of parent.querySelectorAll("details[data-key]")) {
    if (!d.open && !keys.has(d.dataset.key)) continue;
    keys.delete(d.dataset.key);
    d.open = true;
    if (d.fill) {
      d.fill();
      reopen(d, keys);
    }
  }
}

/** Copies a text and reports whether the browser allowed it. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

/** Replaces the figures in a list of terms: [name, text, explanation]. */
export function figures(dl, list) {
  dl.replaceChildren(...list.map(([name, text, why]) =>
    make("div", {}, make("dt", {}, name), make("dd", {}, text, why ? make("small", {}, why) : null))));
}

const none = "–";
const three = (n) => n.toLocaleString("en", { maximumSignificantDigits: 3 });

export const count = (n) => (n === null || n === undefined ? none : n.toLocaleString("en", { maximumFractionDigits: 0 }));

/** A number per second. */
export const rate = (n) => (n === null || n === undefined ? none : `${n >= 100 ? count(n) : three(n)}/s`);

export function seconds(n) {
  if (n === null || n === undefined) return none;
  if (n === 0) return "0 s";
  if (n < 1e-3) return `${three(n * 1e6)} µs`;
  if (n < 1) return `${three(n * 1e3)} ms`;
  return `${three(n)} s`;
}

export function bytes(n) {
  if (n === null || n === undefined) return none;
  for (const [unit, size] of [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]]) {
    if (n >= size) return `${three(n / size)} ${unit}`;
  }
  return `${three(n)} B`;
}

export const byteRate = (n) => (n === null || n === undefined ? none : `${bytes(n)}/s`);

export const percent = (n) => (n === null || n === undefined ? none : `${three(n * 100)} %`);

/** The time of the day of an RFC 3339 text. */
export const clock = (t) => new Date(t).toLocaleTimeString("en-GB");
