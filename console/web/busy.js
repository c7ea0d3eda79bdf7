// What takes the time of the logic goroutine.
import { api } from "./api.js";
import { $, clock, count, make, percent, renew, seconds, table } from "./view.js";

const kinds = { route: "messages", timer: "timer", task: "task", flush: "writing to clients", other: "everything else" };

function name(u) {
  if (u.kind === "flush") return "Writing to clients";
  if (u.kind === "other") return "Everything else: closing sessions, errors, the queue itself";
  const short = u.name.slice(u.name.lastIndexOf("/") + 1);
  return short === u.name ? u.name : [short, make("small", {}, u.name)];
}

export async function busy() {
  const a = await api("busy");
  $("busy-sum").textContent = a.busy === null ? "The first ten seconds are not over." :
    `It had work for ${percent(a.busy)} of the ${count(a.window)} s before ${clock(a.time)}.`;
  renew($("stuck"), ...(a.running < 0.1 ? [] : [
    make("p", { class: "down" }, `At ${clock(a.time)}, one task had run for ${seconds(a.running)}. Its time counts when it ends.`),
    a.stack === "" ? null : make("details", { "data-key": "stack" }, make("summary", {}, "Where it is now"), make("pre", { tabindex: 0 }, a.stack)),
  ].filter((e) => e !== null)));
  renew($("busy"), table(`What took the time, the most first, until ${clock(a.time)}`, [
    { title: "What", cell: name },
    { title: "Kind", cell: (u) => kinds[u.kind] ?? u.kind },
    {
      title: "Share", number: true, cell: (u) => [
        make("meter", { min: 0, max: 1, value: u.load, "aria-hidden": "true" }), " ", percent(u.load)],
    },
    { title: "Time", number: true, cell: (u) => seconds(u.time) },
    { title: "Calls", number: true, cell: (u) => (u.count === 0 ? "–" : count(u.count)) },
    { title: "Mean", number: true, cell: (u) => (u.count === 0 ? "–" : seconds(u.mean)) },
  ], a.users, "Nothing took time."));
}
