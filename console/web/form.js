// Forms for requests, made from the description of their types.
import { make } from "./view.js";

let number = 0; // of the last control, for ids

const hints = { bytes: "base64", time: "RFC 3339, such as 2026-01-31T12:00:00Z", json: "JSON" };

/** Ends the reading of a form: the input has no valid value. */
class Invalid extends Error {
  constructor(input, text) {
    super(text);
    input.setAttribute("aria-invalid", "true");
    input.focus();
  }
}

/**
 * Makes the control of a value: {element, read}. read returns the JSON of the value, or undefined if it is left out; it
 * throws an Error if the input is not such a value. JSON is made as text, because numbers may have more digits than
 * JavaScript's.
 */
export function control(f, title) {
  switch (f.kind) {
    case "object": return object(f, title);
    case "list": return several(f, title, false);
    case "map": return several(f, title, true);
    default: return single(f, title);
  }
}

function single(f, title) {
  const id = `field-${++number}`;
  if (f.kind === "bool") {
    const input = make("input", { type: "checkbox", id });
    return {
      element: make("label", { class: "check", for: id }, input, ` ${title}`),
      read: () => (input.checked || !f.optional ? quoted(f, String(input.checked)) : undefined),
    };
  }
  const input = f.kind === "choice" ?
    make("select", { id }, make("option", { value: "" }, "left out"), ...f.choices.map((c) => make("option", { value: c }, c))) :
    make(f.kind === "json" ? "textarea" : "input", {
      id, autocomplete: "off", spellcheck: "false", rows: f.kind === "json" ? 3 : null,
      inputmode: f.kind === "integer" ? "numeric" : f.kind === "number" ? "decimal" : null,
    });
  input.addEventListener("input", () => input.removeAttribute("aria-invalid"));
  const text = hints[f.kind] ?? f.type;
  return {
    element: make("div", { class: "field" }, make("label", { for: id }, title, " ", make("span", { class: "hint" }, text)), input),
    read: () => readSingle(f, title, input),
  };
}

function readSingle(f, title, input) {
  const text = f.kind === "text" ? input.value : input.value.trim();
  if (text === "" && (f.optional || f.kind !== "text")) return undefined;
  const bad = (want) => { throw new Invalid(input, `${title}: want ${want}.`); };
  switch (f.kind) {
    case "integer":
      if (!/^-?(0|[1-9]\d*)$/.test(text)) bad("a whole number");
      return quoted(f, text);
    case "number":
      if (!/^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(text)) bad("a number");
      return quoted(f, text);
    case "time":
      if (Number.isNaN(Date.parse(text))) bad("a time");
      return JSON.stringify(text);
    case "bytes":
      if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text)) bad("base64");
      return JSON.stringify(text);
    case "json":
      try {
        JSON.parse(text);
      } catch {
        bad("JSON");
      }
      return text;
    default:
      return quoted(f, JSON.stringify(text));
  }
}

/** Puts the JSON of a value in a JSON string if the server wants that. */
function quoted(f, json) {
  return f.quoted ? JSON.stringify(json) : json;
}

function object(f, title) {
  const parts = f.fields.map((field) => ({ name: field.name, ...control(field, field.name) }));
  const legend = make("legend", {}, title, " ", make("span", { class: "hint" }, f.type));
  const content = parts.length === 0 ? [make("p", { class: "hint" }, "It has no fields.")] : parts.map((p) => p.element);
  return {
    element: make("fieldset", {}, legend, ...content),
    read: () => {
      const members = [];
      for (const p of parts) {
        const value = p.read();
        if (value !== undefined) members.push(`${JSON.stringify(p.name)}: ${value}`);
      }
      return members.length === 0 && f.optional ? undefined : `{${members.join(", ")}}`;
    },
  };
}

/** Makes the control of a list, or of a map if keyed is true. */
function several(f, title, keyed) {
  const parts = [];
  const items = make("div", { class: "items" });
  const add = make("button", { type: "button" }, `Add to ${title}`);
  add.addEventListener("click", () => {
    const at = `${title} ${parts.length + 1}`;
    const part = control(f.item, keyed ? `value of ${at}` : at);
    part.key = keyed ? single({ kind: "text", type: "key" }, `key of ${at}`) : null;
    const remove = make("button", { type: "button", "aria-label": `Remove ${at}` }, "Remove");
    const row = make("div", { class: "item" }, part.key?.element, part.element, remove);
    remove.addEventListener("click", () => {
      parts.splice(parts.indexOf(part), 1);
      row.remove();
      add.focus();
    });
    parts.push(part);
    items.append(row);
    row.querySelector("input, select, textarea, button").focus();
  });
  return {
    element: make("fieldset", {}, make("legend", {}, title, " ", make("span", { class: "hint" }, f.type)), items, add),
    read: () => {
      if (parts.length === 0) return f.optional ? undefined : keyed ? "{}" : "[]";
      const values = parts.map((p) => (keyed ? `${p.key.read()}: ` : "") + (p.read() ?? "null"));
      return keyed ? `{${values.join(", ")}}` : `[${values.join(", ")}]`;
    },
  };
}
