// Times: how long ago, and exactly on hover; all are told anew by one timer.
import { serverNow } from "../api.js";
import { NONE, distance, exactTime, localClock, localDay, localTime } from "../format.js";
import { html, useEffect, useState } from "../lib.js";
import { storeOf } from "../stores.js";

const ticks = storeOf(0);
setInterval(() => document.hidden || ticks.set(ticks.value + 1), 1_000);

// What ``tell`` says now; its component is drawn anew only when that changes.
function useTold(tell) {
  const [text, setText] = useState(tell);
  useEffect(() => {
    setText(tell());
    return ticks.subscribe(() => setText(tell()));
  });
  return text;
}

export function Ago({ at }) {
  const moment = at ? new Date(at) : null;
  const text = useTold(() => (moment ? distance(serverNow() - moment.getTime()) : NONE));
  return moment ? html`<time datetime=${moment.toISOString()} title=${exactTime(moment)}>${text}</time>` : NONE;
}

// The time of day, with the day where it is another one
export function Clock({ at }) {
  if (!at) return NONE;
  const moment = new Date(at);
  const isToday = localDay(moment) === localDay(new Date());
  const text = isToday ? localClock(moment) : localTime(moment);
  return html`<time datetime=${moment.toISOString()} title=${exactTime(moment)}>${text}</time>`;
}

// A text in which times stand as the API writes them, with those of this browser in their place.
export function withTimes(text) {
  return text.split(/(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)/).map((part, index) => (index % 2 ? html`<${Clock} at=${part} />` : part));
}

export function Since({ at, tell }) {
  return useTold(() => tell(serverNow() - Date.parse(at)));
}
