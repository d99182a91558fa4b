// The keys of every page. A row is what carries data-row; its first link is what Enter follows.
import { goBack, goTo } from "./router.js";

export const KEYS = [
  ["/", "search"],
  ["j, k", "next and previous row"],
  ["Enter", "open the row"],
  ["x", "select the row"],
  ["p", "pause and go on with live updates"],
  ["g then o, j, f, q, s, c", "overview, jobs, failures, queues, schedules, create"],
  ["Esc", "close, leave the field, or go back from one job to the list"],
  ["?", "these keys"],
];
const PLACES = { o: [], j: ["jobs"], f: ["failures"], q: ["queues"], s: ["schedules"], c: ["create"] };
const SECOND_KEY_WITHIN_MS = 1_000;

let goingSince_ms = -SECOND_KEY_WITHIN_MS;

// ``on``: what "?" and "p" do
export function listenToKeys(on) {
  const pressed = (event) => {
    const isWriting = event.target.closest?.("input:not([type=checkbox]), textarea, select");
    if (event.key === "Escape" && isWriting) event.target.blur();
    if (isWriting || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const act = actionOf(event, on);
    if (act) {
      event.preventDefault();
      act();
    }
  };
  addEventListener("keydown", pressed);
  return () => removeEventListener("keydown", pressed);
}

function actionOf({ key, timeStamp }, on) {
  if (timeStamp - goingSince_ms < SECOND_KEY_WITHIN_MS && PLACES[key]) {
    goingSince_ms = -SECOND_KEY_WITHIN_MS;
    return () => goTo(PLACES[key]);
  }
  switch (key) {
    case "Escape": return goBack;
    case "g": return () => (goingSince_ms = timeStamp);
    case "/": return search;
    case "j": return () => moveBy(1);
    case "k": return () => moveBy(-1);
    case "x": return () => currentRow()?.querySelector("input[type=checkbox]")?.click();
    default: return on[key];
  }
}

function search() {
  const field = document.querySelector("[data-search]");
  if (field) field.focus();
  else goTo(["jobs"]);
}

function currentRow() {
  return document.activeElement?.closest("[data-row]");
}

function moveBy(step) {
  const rows = [...document.querySelectorAll("[data-row]")];
  const at = rows.indexOf(currentRow());
  const next = rows[at < 0 ? (step > 0 ? 0 : rows.length - 1) : at + step];
  next?.querySelector("a[href], button")?.focus();
}
