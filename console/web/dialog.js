// The dialog of actions.
import { $, make } from "./view.js";

let submit = null;
let closed = null;

/** Makes a labeled field of a dialog. */
export function field(id, title, attributes, tag = "input") {
  return [make("label", { for: id }, title), make(tag, { id, autocomplete: "off", spellcheck: "false", ...attributes })];
}

/**
 * Asks before an action. send does it and returns what the dialog then says; it is called when the form is submitted.
 * onClose is called when the dialog has closed.
 */
export function ask({ title, ok, who, fields, focus, send, onClose }) {
  submit = send;
  closed = onClose;
  $("act-title").textContent = title;
  $("act-ok").textContent = ok;
  $("act-who").textContent = who;
  $("act-result").textContent = "";
  $("act-ok").disabled = false;
  $("act-fields").replaceChildren(...fields);
  $("act").showModal();
  $(focus ?? "act-cancel").focus();
}

$("act-form").addEventListener("submit", async (e) => {
  e.preventDefault();
  $("act-ok").disabled = true;
  try {
    $("act-result").textContent = await submit();
  } catch (problem) {
    $("act-result").textContent = problem.message;
  }
  $("act-ok").disabled = false;
});
$("act-cancel").addEventListener("click", () => $("act").close());
$("act").addEventListener("close", () => closed?.());
