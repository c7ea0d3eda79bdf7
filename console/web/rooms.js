// The groups and the rooms.
import { api, operator } from "./api.js";
import { ask, field } from "./dialog.js";
import { find } from "./sessions.js";
import { $, byteRate, bytes, clock, copy, count, figures, make, percent, rate, renew, say, seconds, table } from "./view.js";

// Groups

const listed = 20; // members that a group lists

export async function groups() {
  const a = await api(`groups?q=${encodeURIComponent($("groups-query").value.trim())}`);
  say("groups-found", `${count(a.found)} of ${count(a.total)} groups with members.` +
    (a.found > a.groups.length ? ` The ${count(a.groups.length)} largest are listed.` : ""));
  const member = (m) => (m.uid === "0" ? `session ${m.session}` : `user ${m.uid}`);
  renew($("groups"), table(`Groups, the largest first, at ${clock(a.time)}`, [
    { title: "Name", cell: (g) => (g.name === "" ? make("i", {}, "no name") : g.name) },
    { title: "Members", number: true, cell: (g) => count(g.count) },
    { title: "The oldest members", cell: (g) => g.members.map(member).join(", ") + (g.count > listed ? ", …" : "") },
    { title: "Sessions", cell: (g) => (g.name === "" ? "–" : make("button",
      { "aria-label": `Sessions of the group ${g.name}`, "data-key": `group-${g.name}`, onclick: () => find(g.name) }, "Show")) },
  ], a.groups, "No group has members, or none matches."));
}

$("groups-search").addEventListener("submit", (e) => {
  e.preventDefault();
  groups().catch((problem) => { $("groups-found").textContent = problem.message; });
});

// Rooms

let shown = ""; // the id of the room that is open, "" for the list
let state = "null"; // of that room, as JSON

const tickRate = (k) => (k.tickRate === 0 ? "no ticks" : `${count(k.tickRate)} Hz`);
const labels = (r) => Object.entries(r.labels).map(([name, v]) => `${name}: ${v}`).join(", ");

export async function rooms() {
  if (shown !== "") return;
  const kind = $("rooms-kind").value;
  const a = await api(`rooms?kind=${encodeURIComponent(kind)}&q=${encodeURIComponent($("rooms-query").value.trim())}`);
  $("rooms-sums").hidden = $("rooms-search").hidden = a.sums === null;
  if (a.sums === null) {
    say("rooms-found", "The server has no kinds of rooms.");
    renew($("kinds"));
    renew($("rooms"));
    return;
  }
  figures($("rooms-sums"), [
    ["Rooms", count(a.sums.rooms), `at ${clock(a.at)}`],
    ["Taken seats", count(a.sums.seats), `${count(a.sums.spectators)} spectators`],
    ["Ticks", rate(a.sums.ticks), `${count(a.sums.skipped)} skipped in all`],
    ["Delay of ticks", seconds(a.sums.lagP99), `p99; p50 is ${seconds(a.sums.lagP50)}`],
    ["Load", percent(a.sums.load), "of one core in the last minute"],
  ]);
  renew($("kinds"), table(`Kinds of rooms, at ${clock(a.time)}`, [
    { title: "Kind", cell: (k) => [k.name, make("small", {}, k.type)] },
    { title: "Rooms", number: true, cell: (k) => `${count(k.rooms)} of ${count(k.maxRooms)}` },
    { title: "Taken seats", number: true, cell: (k) => count(k.taken) },
    { title: "Spectators", number: true, cell: (k) => count(k.watching) },
    { title: "Seats of a room", number: true, cell: (k) => count(k.seats) },
    { title: "Ticks", number: true, cell: tickRate },
    { title: "Load", number: true, cell: (k) => percent(k.load) },
    { title: "Runs on", cell: (k) => (k.schedulers === 0 ? "the logic goroutine" : `${count(k.schedulers)} schedulers`) },
  ], a.kinds, ""));
  const options = ["", ...a.kinds.map((k) => k.name)];
  if (options.join("\n") !== [...$("rooms-kind").options].map((o) => o.value).join("\n")) {
    $("rooms-kind").replaceChildren(...options.map((name) => make("option", { value: name }, name === "" ? "all kinds" : name)));
    $("rooms-kind").value = kind;
  }
  say("rooms-found", `${count(a.found)} of ${count(a.total)} rooms.` +
    (a.found > a.rooms.length ? ` The ${count(a.rooms.length)} with the highest load are listed.` : ""));
  renew($("rooms"), table(`Rooms, the highest load first, at ${clock(a.time)}`, [
    { title: "Room", cell: (r) => [r.id, make("small", {}, labels(r))] },
    { title: "Kind", cell: (r) => r.kind },
    { title: "Seats", number: true, cell: (r) => `${count(r.taken)} of ${count(r.seats)}${r.locked ? ", locked" : ""}` },
    { title: "Spectators", number: true, cell: (r) => count(r.spectators) },
    { title: "Delay of ticks, p99", number: true, cell: (r) => (r.ticks === 0 ? "–" : seconds(r.lagP99)) },
    { title: "Load", number: true, cell: (r) => percent(r.load) },
    { title: "State", number: true, cell: (r) => `${byteRate(r.bytesPerPlayer)} a player` },
    { title: "Open", cell: (r) => make("button", { "aria-label": `Open room ${r.id}`, "data-key": `room-${r.id}`, onclick: () => open(r.id) }, "Open") },
  ], a.rooms, "No room is open, or none matches."));
}

$("rooms-search").addEventListener("submit", (e) => {
  e.preventDefault();
  rooms().catch((problem) => { $("rooms-found").textContent = problem.message; });
});
$("rooms-kind").addEventListener("change", () => $("rooms-search").requestSubmit());

async function open(id) {
  shown = id;
  $("rooms-list").hidden = true;
  $("room").hidden = false;
  $("room-title").textContent = `Room ${id}`;
  $("room-title").focus();
  await load();
}

/** Shows the list of rooms. */
export function closeRoom() {
  if (shown === "") return;
  shown = "";
  $("room").hidden = true;
  $("rooms-list").hidden = false;
  renew($("tree"));
}

/** Shows a value as a tree. path identifies it among the open ones. */
function branch(name, value, path) {
  if (value === null || typeof value !== "object") {
    return make("div", { class: "leaf" }, name === "" ? null : make("span", { class: "key" }, `${name}: `),
      make("span", { class: typeof value }, JSON.stringify(value)));
  }
  const entries = Array.isArray(value) ? value.map((v, i) => [i, v]) : Object.entries(value);
  const size = Array.isArray(value) ? `${count(entries.length)} items` : `${count(entries.length)} fields`;
  const details = make("details", { "data-key": `tree-${path}` }, make("summary", {},
    make("span", { class: "key" }, name === "" ? "state" : String(name)), make("span", { class: "hint" }, ` ${size}`)));
  let filled = false;
  const fill = () => { // a branch is built when it is opened first
    if (filled || !details.open) return;
    filled = true;
    details.append(...entries.map(([key, v]) => branch(key, v, `${path}/${key}`)));
  };
  details.addEventListener("toggle", fill);
  details.fill = fill;
  return details;
}

async function load() {
  $("room-state").textContent = "Reading…";
  let a;
  try {
    a = await api(`room?id=${encodeURIComponent(shown)}`);
  } catch (e) {
    $("room-state").textContent = e.message;
    return;
  }
  const r = a.room;
  if (r.id !== shown) return;
  $("room-close").hidden = !operator();
  $("room-state").textContent = `Read at ${clock(a.time)}.` + (a.cut ? " The state is larger than what is shown." : "");
  figures($("room-figures"), [
    ["Kind", r.kind, labels(r)],
    ["Seats", `${count(r.taken)} of ${count(r.seats)}`, `${count(r.spectators)} spectators${r.locked ? ", locked" : ""}`],
    ["Age", seconds(r.age), r.code === "" ? "" : `code ${r.code}`],
    ["Ticks", count(r.ticks), `${count(r.skipped)} skipped`],
    ["Delay of ticks", seconds(r.lagP99), `p99; p50 is ${seconds(r.lagP50)}`],
    ["Load", percent(r.load), `${count(r.panics)} panics`],
    ["State sent", bytes(r.bytes), `${byteRate(r.bytesPerPlayer)} a player`],
  ]);
  renew($("members-of-room"), table("Players and spectators", [
    { title: "Player", cell: (m) => String(m.id) },
    { title: "User", cell: (m) => (m.uid === "0" ? "none" : m.uid) },
    { title: "Session", cell: (m) => (m.session === "" ? "none" : m.session) },
    { title: "Part", cell: (m) => (m.spectator ? "spectator" : m.team === 0 ? "player" : `player of team ${m.team}`) },
    { title: "Connected", cell: (m) => make("span", { class: m.connected ? "up" : "down" }, m.connected ? "yes" : "no") },
    { title: "Round trip", number: true, cell: (m) => (m.rtt === 0 ? "–" : seconds(m.rtt)) },
    { title: "State sent", number: true, cell: (m) => bytes(m.bytes) },
  ], a.members, "The room has no players and no spectators."));
  state = JSON.stringify(a.state, null, 2);
  const tree = branch("", a.state, "");
  if (tree.tagName === "DETAILS") tree.open = true;
  renew($("tree"), tree);
}

$("room-back").addEventListener("click", () => {
  const id = shown;
  closeRoom();
  rooms().then(() => (document.querySelector(`[data-key="room-${CSS.escape(id)}"]`) ?? $("rooms-query")).focus(), () => {});
});
$("room-renew").addEventListener("click", load);
$("room-copy").addEventListener("click", async () => {
  $("room-state").textContent = await copy(state) ? "Copied." : "The browser does not let the page copy.";
});
$("room-close").addEventListener("click", () => {
  const id = shown;
  let done = false;
  ask({
    title: "Close the room", ok: "Close the room", who: `Room ${id}. Its players are told the reason.`,
    fields: field("reason", "Reason, which the players receive", { maxlength: 200 }),
    focus: "reason",
    send: async () => {
      await api("close", { room: id, reason: $("reason").value });
      done = true;
      return "Closed.";
    },
    onClose: () => { if (done) $("room-back").click(); },
  });
});
