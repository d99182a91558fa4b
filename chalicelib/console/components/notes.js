// What is said beside the data: what has been done, what went wrong, that there is nothing.
import { html, useEffect } from "../lib.js";
import { storeOf, useStore } from "../stores.js";

const SHOWN_MS = 6_000;
const announcement = storeOf(null);

// One sentence, seen for a moment and read out once.
export function announce(text, isBad = false) {
  announcement.set({ text, isBad });
}

export function Announcement() {
  const told = useStore(announcement);
  useEffect(() => {
    if (!told) return undefined;
    const timer = setTimeout(() => announcement.set(null), told.isBad ? 2 * SHOWN_MS : SHOWN_MS);
    return () => clearTimeout(timer);
  }, [told]);
  return html`<div class="announcement" role="status">
    ${told && html`<p class=${told.isBad ? "bad" : ""}>${told.text}</p>`}</div>`;
}

export function Trouble({ error, retry, what = "This" }) {
  const advice = adviceOn(error);
  return html`<div class="trouble" role="alert">
    <p><strong>${what} cannot be shown.</strong> ${error.message}</p>
    ${error.details?.length > 0 && html`<ul>${error.details.map((each) => html`<li>${detailText(each)}</li>`)}</ul>`}
    <p class="soft">${advice} ${retry && html`<button type="button" onClick=${retry}>Try again</button>`}</p>
  </div>`;
}

function detailText(detail) {
  const field = detail.field ? `${detail.field}: ` : "";
  return field + (detail.message || `expected ${detail.expected}`);
}

function adviceOn({ status }) {
  if (status === 403) return "Sign in with a key that has the scope console.";
  if (status === 404) return "It may have been deleted, or the address is wrong.";
  if (status === 400 || status === 422) return "Change the filter.";
  return "It is asked for again by itself; the log of the API says more.";
}

export function Empty({ title, children }) {
  return html`<div class="empty"><p><strong>${title}</strong></p>${children && html`<p class="soft">${children}</p>`}</div>`;
}

export function Loading() {
  return html`<p class="loading soft">Loading …</p>`;
}

// Its children with the data, once there is any.
export function Loaded({ polled, what, children }) {
  if (polled.error && !polled.data) return html`<${Trouble} error=${polled.error} retry=${polled.refresh} what=${what} />`;
  return polled.data ? children(polled.data) : html`<${Loading} />`;
}
