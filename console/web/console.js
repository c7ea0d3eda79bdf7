// The pages of the console. Each number comes from the API and has the time of its sample.
import { api, call, operator, shared } from "./api.js";
import { busy } from "./busy.js";
import { Chart } from "./chart.js";
import { ask, field } from "./dialog.js";
import { leave, playground } from "./play.js";
import { closeRoom, groups, rooms } from "./rooms.js";
import { sessions } from "./sessions.js";
import { $, byteRate, bytes, clock, count, figures, make, percent, rate, renew, say, seconds, table } from "./view.js";

const kept = 180; // samples
let samples = [];
let clustered = false; // the server is a node of a cluster

// Overview

const charts = [
  new Chart("Messages", [{ title: "in", key: "messagesIn" }, { title: "out", key: "messagesOut" }], rate),
  new Chart("Traffic", [{ title: "in", key: "bytesIn" }, { title: "out", key: "bytesOut" }], byteRate, 1024),
  new Chart("Time of a handler", [{ title: "mean", key: "handlerMean" }, { title: "p99", key: "handlerP99" }], seconds),
  new Chart("Queue delay", [{ title: "delay", key: "queueDelay" }], seconds),
  new Chart("Work of the logic goroutine", [{ title: "all", key: "logicLoad" }, { title: "handlers", key: "handlerLoad" }], percent),
  new Chart("Sessions", [{ title: "sessions", key: "sessions" }], count),
  new Chart("Memory", [{ title: "heap", key: "heap" }, { title: "Go runtime", key: "memory" }], bytes, 1024),
  new Chart("Refused", [{ title: "refused", key: "refused" }], rate),
];
$("charts").append(...charts.map((c) => c.element));

async function overview() {
  const last = samples.at(-1);
  const node = shared.node;
  const o = await api(last ? `overview?after=${encodeURIComponent(last.time)}` : "overview");
  if (node !== shared.node) return false; // another node is shown by now
  shared.role = o.role;
  $("name").textContent = o.name;
  document.title = `${o.name} console`;
  $("role").textContent = o.closing ? `${o.role}, shutting down` : o.role;
  $("drain-part").hidden = !operator() || o.closing;
  $("sampled").textContent = clock(o.time);
  $("sampled").dateTime = o.time;
  clustered ||= o.node !== "";
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

// Shut down

$("drain").addEventListener("click", () => ask({
  title: "Drain and shut down", ok: "Shut down", who: "The server stops accepting clients, waits for its rooms, and then ends. This cannot be undone.",
  fields: field("drain-seconds", "How long to wait for rooms at most, in seconds", { type: "number", min: 1, max: 86400, value: 60, required: true }),
  focus: "drain-seconds",
  send: async () => {
    await api("drain", { seconds: Number($("drain-seconds").value) });
    return "The server shuts down.";
  },
}));

// Handlers, errors, cluster

/** Shows the slowest calls of a handler. */
function slowest(r) {
  if (r.slowest.length === 0) return "–";
  return make("details", { "data-key": `slow-${r.route}` }, make("summary", { "aria-label": `Slowest calls of ${r.route}` }, seconds(r.slowest[0].took)),
    make("ul", { class: "plain" }, ...r.slowest.map((c) => make("li", {},
      `${seconds(c.took)} at ${clock(c.time)}, ${c.session === "0" ? "a call of a node" : `session ${c.session}`}${c.uid === "0" ? "" : `, user ${c.uid}`}`))));
}

async function handlers() {
  const a = await api("handlers");
  $("window").textContent = a.window >= 59 ? "the last minute" : `the last ${count(a.window)} s`;
  renew($("handlers"), table(`Handlers that were called, at ${clock(a.time)}`, [
    { title: "Route", cell: (r) => r.route },
    { title: "Rate", number: true, cell: (r) => rate(r.rate) },
    { title: "Mean", number: true, cell: (r) => seconds(r.mean) },
    { title: "p50", number: true, cell: (r) => seconds(r.p50) },
    { title: "p99", number: true, cell: (r) => seconds(r.p99) },
    { title: "Share", number: true, cell: (r) => percent(r.load) },
    { title: "Failed", number: true, cell: (r) => (r.errors === 0 ? "0" : `${count(r.failed)}, ${count(r.errors)} in all`) },
    { title: "Calls in all", number: true, cell: (r) => count(r.count) },
    { title: "Longest in all", number: true, cell: (r) => seconds(r.max) },
    { title: "Slowest in 15 minutes", cell: slowest },
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
  renew($("errors"), make("div", { class: "columns" },
    table(`Refused, at ${clock(a.time)}`, columns("Reason"), [...a.refused, a.panics], ""),
    table(`Closed sessions, at ${clock(a.time)}`, columns("Reason"), a.closed, "No session has closed.")));
}

async function cluster() {
  const a = await api("cluster");
  $("self").textContent = a.node ? `This node is ${a.id} at ${a.address}.` : "This server is not a node of a cluster.";
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
  renew($("members"), table(`Other nodes, at ${clock(a.time)}`, [
    { title: "Address", cell: (m) => m.address },
    { title: "State", cell: (m) => make("span", { class: m.up ? "up" : "down" }, m.up ? "up" : "down") },
    { title: "Label", cell: (m) => m.label },
    { title: "Round trip", number: true, cell: (m) => (m.rtt === 0 ? "–" : seconds(m.rtt)) },
    { title: "Queue", number: true, cell: (m) => (m.queued === 0 ? "empty" : `${count(m.queued)}, ${bytes(m.queuedBytes)}`) },
    { title: "Started", cell: (m) => new Date(m.started).toLocaleString("en-GB") },
    { title: "Services", cell: (m) => m.services.join(", ") },
    { title: "Pages", cell: (m) => (!m.up || m.id === shared.node ? "–" : make("button",
      { "aria-label": `Pages of node ${m.address}`, "data-key": `node-${m.id}`, onclick: () => visit(m.id) }, "Show")) },
  ], a.members, "This node knows no other node."));
}

// Nodes

/** Fills the list of nodes, of which the first one has this address. */
async function nodes() {
  const a = await call("cluster");
  $("nodes").hidden = !a.node;
  const list = a.node ? [{ id: "", title: `this one, ${a.address}` },
    ...a.members.filter((m) => m.up || m.id === shared.node).map((m) => ({ id: m.id, title: m.label === "" ? m.address : `${m.label}, ${m.address}` }))] : [];
  const select = $("node");
  if (list.map((n) => `${n.id} ${n.title}`).join("\n") === [...select.options].map((o) => `${o.value} ${o.text}`).join("\n")) return;
  select.replaceChildren(...list.map((n) => make("option", { value: n.id }, n.title)));
  select.value = shared.node;
  home = a.id;
}

let home = ""; // the id of the node of this address

/** Shows the pages of a node. */
async function visit(id) {
  leave();
  closeRoom();
  shared.node = id === home ? "" : id;
  $("node").value = shared.node;
  samples = [];
  for (const id of ["figures", "totals", "handlers", "errors", "sessions", "groups", "rooms", "kinds", "busy", "stuck", "members"]) $(id).replaceChildren();
  await poll();
  await load();
}

$("node").addEventListener("change", () => visit($("node").value));

// Navigation

const pages = { overview, busy, handlers, sessions: () => sessions(false), groups, rooms, errors, cluster, playground };
const live = new Set(["busy", "handlers", "groups", "rooms", "errors", "cluster"]); // renewed with each sample
let page = "";

const problem = (text) => say("problem", text);

async function load() {
  if (page === "overview") return; // poll renews it and tells its problems
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
    if (a.hash === `#${page}`) {
      a.setAttribute("aria-current", "page");
      a.scrollIntoView({ block: "nearest", inline: "nearest" });
    } else a.removeAttribute("aria-current");
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
    const node = shared.node;
    const fresh = await overview();
    if (node !== shared.node) return;
    problem("");
    if (fresh && live.has(page)) await load();
    if (clustered) await nodes();
  } catch (e) {
    problem(e.message);
  }
}

document.addEventListener("visibilitychange", poll);
await poll(); // before the first page, which depends on the role
show(false);
setInterval(poll, 5000);
