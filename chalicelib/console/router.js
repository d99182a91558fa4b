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
addEventListener("hashchange", () => route.set(parsed()));

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
  history.replaceState(null, "", hrefOf(route.value.path, parameters));
  route.set(parsed());
}
