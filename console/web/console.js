// The pages of the console. Each number comes from the API and has the time of its sample.
import { Chart } from "./chart.js";
import { $, byteRate, bytes, clock, count, figures, make, percent, rate, seconds, table } from "./view.js";

const kept = 180; // samples
let samples = [];
let role = "viewer";

/** Calls the API. A failure is an Error with the text of the server. */
async function api(path, body) {
  const request = body === undefined ? {} :
    { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let response;
  try {
    response = await fetch(`api/${path}`, { ...request, signal: AbortSignal.timeout(10_000) });
  } catch {
    throw new Error("The server does not answer.");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error ?? `The server answered ${response.status}.`);
  return answer;
}

// Overview

const charts = [
  new Chart("Messages", [{ title: "in", key: "messagesIn" }, { title: "out", key: "messagesOut" }], rate),
  new Chart("Traffic", [{ title: "in", key: "bytesIn" }, { title: "out", key: "bytesOut" }], byteRate, 1024),
  new Chart("Mean time of a handler", [{ title: "mean", key: "handlerMean" }], seconds),
  new Chart("Queue delay", [{ title: "delay", key: "queueDelay" }], seconds),
  new Chart("Share of time in handlers", [{ title: "share", key: "handlerLoad" }], percent),
  new Chart("Sessions", [{ title: "sessions", key: "sessions" }], count),
  new Chart("Memory", [{ title: "heap", key: "heap" }, { title: "Go runtime", key: "memory" }], bytes, 1024),
  new Chart("Refused", [{ title: "refused", key: "refused" }], rate),
];
$("charts").append(...charts.map((c) => c.element));

async function overview() {
  const last = samples.at(-1);
  const o = await api(last ? `overview?after=${encodeURIComponent(last.time)}` : "overview");
  role = o.role;
  $("name").textContent = o.name;
  document.title = `${o.name} console`;
  $("role").textContent = o.role;
  $("sampled").textContent = clock(o.time);
  $("sampled").dateTime = o.time;
  if (o.samples.length === 0) return false;
  samples = [...samples, ...o.samples].slice(-kept);
  const s = samples.at(-1);
  figures($("figures"), [
    ["Sessions", count(s.sessions), `${count(s.connections)} connections`],
    ["Messages in", rate(s.messagesIn), byteRate(s.bytesIn)],
    ["Messages out", rate(s.messagesOut), byteRate(s.bytesOut)],
    ["Mean time of a handler", seconds(s.handlerMean), `handlers run ${percent(s.handlerLoad)} of the time`],
    ["Queue delay", seconds(s.queueDelay), `waiting tasks: ${count(s.queueDepth)}`],
    ["Heap", bytes(s.heap), `${bytes(s.memory)} in all, ${count(s.goroutines)} goroutines`],
  ]);
  figures($("totals"), [
    ["Connections", count(o.totals.accepted)],
    ["Messages in", count(o.totals.messagesIn), bytes(o.totals.bytesIn)],
    ["Messages out", count(o.totals.messagesOut), bytes(o.totals.bytesOut)],
    ["Refused", count(o.totals.refused)],
    ["Closed sessions", count(o.totals.closed)],
    ["Panics", count(o.totals.panics)],
  ]);
  for (const c of charts) c.update(samples);
  return true;
}

// Sessions

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
  return make("details", {}, make("summary", {}, `${s.data.length + s.more} values`), list, more);
}

function actions(s) {
  const who = `session ${s.id}`;
  return [
    make("button", { "aria-label": `Push to ${who}`, onclick: () => act("push", s) }, "Push"), " ",
    make("button", { class: "bad", "aria-label": `Kick ${who}`, onclick: () => act("kick", s) }, "Kick"),
  ];
}

async function sessions(more) {
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
  if (role === "operator") columns.push({ title: "Actions", cell: actions });
  $("sessions").replaceChildren(table("Open sessions, the newest first", columns, rows, "No session is open, or none matches."));
  $("more").hidden = next === "";
  $("more").textContent = query === "" ? "Older sessions" : "Search older sessions";
}

$("search").addEventListener("submit", (e) => {
  e.preventDefault();
  query = $("query").value.trim();
  sessions(false);
});
$("more").addEventListener("click", () => sessions(true));

// Actions

let pending = null; // the action of the dialog

function field(id, title, attributes, tag = "input") {
  return [make("label", { for: id }, title), make(tag, { id, autocomplete: "off", spellcheck: "false", ...attributes })];
}

function act(kind, s) {
  pending = { kind, s };
  $("act-title").textContent = kind === "kick" ? "Kick" : "Push";
  $("act-ok").textContent = kind === "kick" ? "Kick" : "Push";
  $("act-result").textContent = "";
  $("act-who").textContent = `Session ${s.id}, ${s.uid === "0" ? "no user" : `user ${s.uid}`}, ${s.address}`;
  const whom = [
    make("label", { for: "whom" }, "To"),
    make("select", { id: "whom" }, make("option", { value: "session" }, "this session"),
      s.uid === "0" ? null : make("option", { value: "uid" }, "every session of the user, on all nodes")),
  ];
  const fields = kind === "kick" ? field("reason", "Reason, which the client receives", { maxlength: 200 }) : [
    ...field("route", "Route", { required: true }),
    ...field("payload", "Payload: the client receives exactly this text", { rows: 5 }, "textarea"),
  ];
  $("act-fields").replaceChildren(...whom, ...fields);
  $("act").showModal();
  $(kind === "kick" ? "reason" : "route").focus();
}

$("act-form").addEventListener("submit", async (e) => {
  e.preventDefault();
  const { kind, s } = pending;
  const body = $("whom").value === "uid" ? { uid: s.uid } : { session: s.id };
  if (kind === "kick") body.reason = $("reason").value;
  else Object.assign(body, { route: $("route").value, payload: $("payload").value });
  $("act-ok").disabled = true;
  try {
    await api(kind, body);
    $("act-result").textContent = kind === "kick" ? "Kicked." : "Sent.";
  } catch (problem) {
    $("act-result").textContent = problem.message;
  }
  $("act-ok").disabled = false;
});
$("act-cancel").addEventListener("click", () => $("act").close());
$("act").addEventListener("close", () => { if (pending?.kind === "kick") sessions(false); });

// Handlers, errors, cluster

async function handlers() {
  const a = await api("handlers");
  $("window").textContent = a.window >= 59 ? "the last minute" : `the last ${count(a.window)} s`;
  $("handlers").replaceChildren(table(`Handlers that were called, at ${clock(a.time)}`, [
    { title: "Route", cell: (r) => r.route },
    { title: "Rate", number: true, cell: (r) => rate(r.rate) },
    { title: "Mean", number: true, cell: (r) => seconds(r.mean) },
    { title: "p50", number: true, cell: (r) => seconds(r.p50) },
    { title: "p99", number: true, cell: (r) => seconds(r.p99) },
    { title: "Share", number: true, cell: (r) => percent(r.load) },
    { title: "Calls since the start", number: true, cell: (r) => count(r.count) },
    { title: "Longest since the start", number: true, cell: (r) => seconds(r.max) },
  ], a.handlers, "No handler was called yet."));
}

async function errors() {
  const a = await api("errors");
  const recent = a.window >= 59 ? "Last minute" : `Last ${count(a.window)} s`;
  const columns = (title) => [
    { title, cell: (c) => c.name },
    { title: recent, number: true, cell: (c) => count(c.recent) },
    { title: "Since the start", number: true, cell: (c) => count(c.total) },
  ];
  $("errors").replaceChildren(make("div", { class: "columns" },
    table(`Refused, at ${clock(a.time)}`, columns("Reason"), [...a.refused, a.panics], ""),
    table(`Closed sessions, at ${clock(a.time)}`, columns("Reason"), a.closed, "No session has closed.")));
}

async function cluster() {
  const a = await api("cluster");
  $("self").textContent = a.node ? `This node is at ${a.address}.` : "This server is not a node of a cluster.";
  $("traffic").hidden = $("members").hidden = !a.node;
  if (!a.node) return;
  const t = a.traffic;
  figures($("traffic"), [
    ["From other nodes", rate(t.messagesIn), byteRate(t.bytesIn)],
    ["To other nodes", rate(t.messagesOut), byteRate(t.bytesOut)],
    ["Queued to other nodes", count(t.queued), bytes(t.queuedBytes)],
    ["Sessions of other nodes", count(t.sessions)],
    ["Lost since the start", count(t.lost + t.unsent + t.refused), `${count(t.unsent)} unsent, ${count(t.refused)} refused, ${count(t.lost)} to clients`],
    ["Late answers since the start", count(t.late)],
  ]);
  $("members").replaceChildren(table(`Other nodes, at ${clock(a.time)}`, [
    { title: "Address", cell: (m) => m.address },
    { title: "State", cell: (m) => make("span", { class: m.up ? "up" : "down" }, m.up ? "up" : "down") },
    { title: "Label", cell: (m) => m.label },
    { title: "Round trip", number: true, cell: (m) => (m.rtt === 0 ? "–" : seconds(m.rtt)) },
    { title: "Started", cell: (m) => new Date(m.started).toLocaleString("en-GB") },
    { title: "Services", cell: (m) => m.services.join(", ") },
  ], a.members, "This node knows no other node."));
}

// Navigation

const pages = { overview: async () => {}, sessions: () => sessions(false), handlers, errors, cluster };
const live = new Set(["handlers", "errors", "cluster"]); // renewed with each sample
let page = "";

const problem = (text) => { if ($("problem").textContent !== text) $("problem").textContent = text; };

async function load() {
  try {
    await pages[page]();
    problem("");
  } catch (e) {
    problem(e.message);
  }
}

function show(focus) {
  const wanted = location.hash.slice(1);
  page = Object.hasOwn(pages, wanted) ? wanted : "overview";
  for (const name of Object.keys(pages)) $(`page-${name}`).hidden = name !== page;
  for (const a of document.querySelectorAll("nav a")) {
    if (a.hash === `#${page}`) a.setAttribute("aria-current", "page");
    else a.removeAttribute("aria-current");
  }
  if (focus) document.querySelector(`#page-${page} h2`).focus();
  load();
}

$("skip").addEventListener("click", (e) => {
  e.preventDefault();
  $("main").focus();
});
window.addEventListener("hashchange", () => show(true));

/** Asks for new samples while the page is visible. */
async function poll() {
  if (document.hidden) return;
  try {
    const fresh = await overview();
    problem("");
    if (fresh && live.has(page)) await load();
  } catch (e) {
    problem(e.message);
  }
}

document.addEventListener("visibilitychange", poll);
await poll(); // before the first page, which depends on the role
show(false);
setInterval(poll, 5000);
