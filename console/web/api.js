// The API of the console, at this node or at another one.

/** What the pages share. node is the id of the node whose pages are shown, "" for the node of this address. */
export const shared = { role: "viewer", node: "" };

/** Calls the API of the node that is shown. A failure is an Error with the text of the server. */
export async function api(path, body) {
  return call(shared.node === "" ? path : `${path}${path.includes("?") ? "&" : "?"}node=${shared.node}`, body);
}

/** Calls the API of the node of this address. */
export async function call(path, body) {
  const request = body === undefined ? {} :
    { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let response;
  try {
    response = await fetch(`api/${path}`, { ...request, signal: AbortSignal.timeout(15_000) });
  } catch {
    throw new Error("The server does not answer.");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error ?? `The server answered ${response.status}.`);
  return answer;
}

export const operator = () => shared.role === "operator";
