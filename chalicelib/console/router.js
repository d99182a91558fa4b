// Where one is: the part of the address behind #, so that links work whatever stands before the page's path.
import { storeOf, useStore } from "./stores.js";

function parsed() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  return { path: path.split("/").filter(Boolean).map(decoded), query: new URLSearchParams(query || "") };
}

function decoded(segment) {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment; // written by hand
  }
}

const route = storeOf(parsed());
const leftBy = new Map(); // an address: the link by which it was left

// ``isReturn``: this entry of the history was here before, so that it was gone back to (or forth).
export const arrival = { isReturn: false };

addEventListener("hashchange", ({ oldURL }) => {
  leftBy.set(new URL(oldURL).hash, document.activeElement?.getAttribute("href"));
  arrival.isReturn = Boolean(history.state?.wasHere);
  markHere();
  route.set(parsed());
});
markHere();

function markHere() {
  history.replaceState({ wasHere: true }, "");
}

// The link by which this page was left, where one has gone back to it.
export function linkLeftBy() {
  return arrival.isReturn ? leftBy.get(location.hash) : null;
}

// From one job to where one came from; where nothing of this page was before it, to the list of jobs.
export function goBack() {
  const { path } = route.value;
  if (path[0] !== "jobs" || path.length < 2) return;
  if (leftBy.size > 0) history.back();
  else goTo([path[0]]);
}

export function here() {
  return route.value;
}

export function useRoute() {
  return useStore(route);
}

// "?state=failed&type=x": lists are repeated, what is empty is left out
export function queryText(parameters) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const each of [value].flat()) if (each !== "" && each !== null && each !== undefined) query.append(name, each);
  }
  const text = query.toString();
  return text ? `?${text}` : "";
}

// hrefOf(["jobs", 12]), hrefOf(["jobs"], { state: ["failed"] })
export function hrefOf(path, parameters = {}) {
  return `#/${path.map(encodeURIComponent).join("/")}${queryText(parameters)}`;
}

export function goTo(path, parameters) {
  location.hash = hrefOf(path, parameters);
}

// Another filter is no step that "back" leads to.
export function replaceQuery(parameters) {
  history.replaceState(history.state, "", hrefOf(route.value.path, parameters));
  route.set(parsed());
}
