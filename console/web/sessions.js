// The sessions, and the actions on them.
import { api, operator } from "./api.js";
import { ask, field } from "./dialog.js";
import { $, clock, count, make, renew, table } from "./view.js";

let query = "";
let rows = [];
let next = "";
let searched = 0;
let request = 0; // the number of the last search: the answer of an earlier one is dropped

function data(s) {
  if (s.data === null) return "not read";
  if (s.data.length === 0) return "none";
  const list = make("dl", { class: "data" }, ...s.data.map((e) =>
    make("div", {}, make("dt", {}, e.key), make("dd", {}, e.value === "" ? make("i", {}, e.type) : e.value))));
  const more = s.more > 0 ? make("p", { class: "hint" }, `and ${count(s.more)} more`) : null;
  if (s.data.length <= 3) return [list, more];
  return make("details", { "data-key": `data-${s.id}` }, make("summary", {}, `${s.data.length + s.more} values`), list, more);
}

function actions(s) {
  const who = `session ${s.id}`;
  return [
    make("button", { "aria-label": `Push to ${who}`, "data-key": `push-${s.id}`, onclick: () => act("push", s) }, "Push"), " ",
    make("button", { class: "bad", "aria-label": `Kick ${who}`, "data-key": `kick-${s.id}`, onclick: () => act("kick", s) }, "Kick"),
  ];
}

export async function sessions(more) {
  const number = ++request;
  const before = more ? next : "";
  $("found").textContent = "Searching…";
  let list;
  try {
    list = await api(`sessions?q=${encodeURIComponent(query)}&before=${before}`);
  } catch (e) {
    if (number === request) $("found").textContent = e.message;
    return;
  }
  if (number !== request) return;
  rows = more ? [...rows, ...list.sessions] : list.sessions;
  searched = list.searched + (more ? searched : 0);
  next = list.next;
  const what = query === "" ? `${count(rows.length)} of ${count(list.total)} open sessions` :
    `${count(rows.length)} found, ${count(searched)} of ${count(list.total)} open sessions searched`;
  $("found").textContent = `${what}, at ${clock(list.time)}. ${list.problem}`;
  const columns = [
    { title: "Session", cell: (s) => s.id },
    { title: "User", cell: (s) => (s.uid === "0" ? "none" : s.uid) },
    { title: "Address", cell: (s) => s.address },
    { title: "Data", cell: data },
  ];
  if (rows.some((s) => s.groups.length > 0)) columns.push({ title: "Groups", cell: (s) => s.groups.join(", ") });
  if (operator()) columns.push({ title: "Actions", cell: actions });
  renew($("sessions"), table("Open sessions, the newest first", columns, rows, "No session is open, or none matches."));
  $("more").hidden = next === "";
  $("more").textContent = query === "" ? "Older sessions" : "Search older sessions";
}

/** Shows the sessions that a query finds. */
export function find(text) {
  query = text;
  $("query").value = text;
  location.hash = "#sessions";
}

$("search").addEventListener("submit", (e) => {
  e.preventDefault();
  query = $("query").value.trim();
  sessions(false);
});
$("more").addEventListener("click", () => sessions(true));

function act(kind, s) {
  const kick = kind === "kick";
  const whom = [
    make("label", { for: "whom" }, "To"),
    make("select", { id: "whom" }, make("option", { value: "session" }, "this session"),
      s.uid === "0" ? null : make("option", { value: "uid" }, "every session of the user, on all nodes")),
  ];
  ask({
    title: kick ? "Kick" : "Push",
    ok: kick ? "Kick" : "Push",
    who: `Session ${s.id}, ${s.uid === "0" ? "no user" : `user ${s.uid}`}, ${s.address}`,
    fields: [...whom, ...(kick ? field("reason", "Reason, which the client receives", { maxlength: 200 }) : [
      ...field("route", "Route", { required: true }),
      ...field("payload", "Payload: the client receives exactly this text", { rows: 5 }, "textarea"),
    ])],
    focus: kick ? "reason" : "route",
    send: async () => {
      const body = $("whom").value === "uid" ? { uid: s.uid } : { session: s.id };
      if (kick) body.reason = $("reason").value;
      else Object.assign(body, { route: $("route").value, payload: $("payload").value });
      await api(kind, body);
      return kick ? "Kicked." : "Sent.";
    },
    onClose: () => { if (kick) sessions(false); },
  });
}
