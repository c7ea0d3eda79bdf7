// The playground: a test client of the server.
import { api, operator } from "./api.js";
import { control } from "./form.js";
import { $, bytes, clock, copy, make, seconds } from "./view.js";

const pollEvery = 1000; // milliseconds between two looks for pushes

let routes = [];
let form = null; // the control of the chosen route; null if the handler takes bytes
let client = ""; // "" while there is none
let after = 0; // the number of the last push
let script = [];
let timer = 0;

/** Loads the routes. They do not change while a server runs. */
export async function playground() {
  $("play").hidden = !operator();
  $("play-role").hidden = operator();
  if (!operator() || routes.length > 0) return;
  routes = (await api("routes")).routes;
  $("play-route").replaceChildren(...routes.map((r) => make("option", { value: r.route }, r.route)));
  choose();
}

/** Forgets the client and the routes of a node. */
export function leave() {
  if (client !== "") toggle();
  routes = [];
}

function choose() {
  const r = routes.find((route) => route.route === $("play-route").value);
  form = null;
  $("play-problem").textContent = "";
  $("play-reply").textContent = "";
  $("play-fields").replaceChildren();
  if (!r) return;
  $("play-reply").textContent = r.reply === "" ? "The type of the reply is not known: the handler may answer by itself." : `The reply is a ${r.reply}.`;
  if (r.request !== null) {
    form = r.request.kind === "object" && r.request.fields !== null ? control(r.request, "Request") : control({ ...r.request, kind: "json" }, "Request");
    $("play-fields").append(form.element);
  }
  $("play-own").checked = form === null;
  $("play-own").disabled = form === null;
  $("play-payload").value = "";
  showText();
}

function showText() {
  $("play-text").hidden = !$("play-own").checked;
  $("play-fields").hidden = $("play-own").checked;
}

$("play-route").addEventListener("change", choose);
$("play-own").addEventListener("change", () => {
  if ($("play-own").checked && $("play-payload").value === "") {
    try {
      $("play-payload").value = form.read() ?? "";
    } catch {
      // an invalid field stays out of the text
    }
  }
  showText();
});

function log(kind, route, text, time) {
  $("play-log").append(make("div", { class: `entry ${kind}` },
    make("p", {}, make("b", {}, kind), ` ${route} `, make("span", { class: "hint" }, time)),
    text === "" ? null : make("pre", {}, text)));
  while ($("play-log").childElementCount > 200) $("play-log").firstElementChild.remove();
  $("play-log").scrollTop = $("play-log").scrollHeight;
}

function write(...lines) {
  script.push(...lines);
  $("play-script").value = script.length === 0 ? "" : `${script.join("\n")}\n`;
}

function connected(text) {
  $("play-state").textContent = text;
  $("play-toggle").textContent = client === "" ? "Connect" : "Disconnect";
  $("play-user").disabled = client !== "";
  clearInterval(timer);
  if (client !== "") timer = setInterval(pushes, pollEvery);
}

async function toggle() {
  const id = client;
  try {
    if (id !== "") {
      client = "";
      connected("Not connected.");
      await api("play/close", { client: id });
      return;
    }
    $("play-state").textContent = "Connecting…";
    client = (await api("play/open", { user: $("play-user").value.trim() })).client;
    after = 0;
    connected("Connected.");
  } catch (e) {
    connected(e.message);
  }
}

$("play-connect").addEventListener("submit", (e) => {
  e.preventDefault();
  toggle();
});

async function pushes() {
  const id = client;
  if (document.hidden || id === "") return;
  try {
    const a = await api(`play?client=${id}&after=${after}`);
    if (id !== client) return;
    for (const p of a.pushes) {
      if (p.number <= after) continue; // two answers may overlap
      after = p.number;
      log("push", p.route, pretty(p), clock(p.time) + truncated(p));
      write(`# push ${p.route}`);
    }
    if (a.closed !== "") {
      client = "";
      connected(`The connection has ended: ${a.closed}.`);
    }
  } catch (e) {
    client = "";
    connected(e.message);
  }
}

/** Returns a payload as text for people. */
function pretty(p) {
  if (p.encoding !== "json") return p.encoding === "base64" ? `base64: ${p.text}` : p.text;
  try {
    const value = JSON.parse(p.text);
    const again = JSON.stringify(value, null, 2);
    return again.replace(/\s/g, "") === p.text.replace(/\s/g, "") ? again : p.text; // numbers may have lost digits
  } catch {
    return p.text;
  }
}

/** Returns what to say of a payload that is not shown whole. */
const truncated = (p) => (p.truncated ? `, truncated: the payload has ${bytes(p.size)}` : "");

/** Returns a payload as one line of a script: JSON, or else its bytes. */
function oneLine(text) {
  if (text.trim() === "") return "";
  try {
    JSON.parse(text);
    return text.trim().replace(/\s*[\n\r]\s*/g, " "); // no text of JSON has a line break
  } catch {
    return `hex:${[...new TextEncoder().encode(text)].map((b) => b.toString(16).padStart(2, "0")).join("")}`;
  }
}

async function send(notify) {
  $("play-problem").textContent = "";
  const route = $("play-route").value;
  let payload;
  try {
    payload = $("play-own").checked ? $("play-payload").value : form.read() ?? "";
  } catch (e) {
    $("play-problem").textContent = e.message;
    return;
  }
  if (client === "") {
    await toggle();
    if (client === "") {
      $("play-problem").textContent = $("play-state").textContent;
      return;
    }
  }
  $("play-send").disabled = $("play-notify").disabled = true;
  try {
    const a = await api("play/send", { client, route, notify, payload });
    const kind = notify ? "notify" : "request";
    log(kind, route, payload === "" ? "" : pretty({ text: payload, encoding: "json" }), clock(a.time));
    write(`${kind} ${route} ${oneLine(payload)}`.trim());
    if (a.reply) {
      log("reply", route, pretty(a.reply), seconds(a.took) + truncated(a.reply));
      write(`# reply ${a.reply.encoding === "json" ? oneLine(a.reply.text) : "of bytes"}`);
    }
    if (a.error) {
      log("error", route, `${a.error.code}: ${a.error.message}`, seconds(a.took));
      write(`expect error ${a.error.code}`);
    }
  } catch (e) {
    $("play-problem").textContent = e.message;
  }
  $("play-send").disabled = $("play-notify").disabled = false;
  await pushes();
}

$("play-form").addEventListener("submit", (e) => {
  e.preventDefault();
  send(false);
});
$("play-notify").addEventListener("click", () => send(true));
$("play-copy").addEventListener("click", async () => {
  $("play-copied").textContent = await copy($("play-script").value) ?
    "Copied. Run it with: nano connect URL -f FILE" : "The browser does not let the page copy. Select the text instead.";
});
$("play-clear").addEventListener("click", () => {
  script = [];
  write();
  $("play-log").replaceChildren();
  $("play-copied").textContent = "";
});
