// Queues with their lanes, and pools with their slots: how deep, how old, paused or bounded.
import { PauseButton } from "./overview.js";
import { useMay } from "../components/acting.js";
import { Limits } from "../components/limits.js";
import { State } from "../components/marks.js";
import { Empty, Loaded } from "../components/notes.js";
import { Ago } from "../components/times.js";
import { count, duration, plural } from "../format.js";
import { html } from "../lib.js";
import { usePolled } from "../polling.js";
import { hrefOf } from "../router.js";

const EVERY_MS = 5_000;

export function Queues() {
  const polled = usePolled("/api/queues", EVERY_MS);
  return html`<div class="title"><h1>Queues</h1></div>
    <${Loaded} polled=${polled} what="The list of queues">${({ items, leftOut, deadLetterQueue }) => html`
      ${items.length === 0 && html`<${Empty} title="There are no queues.">Declare a handler, and its queue is made.</${Empty}>`}
      ${deadLetterQueue?.visible > 0 && html`<p class="bad">SQS has given up ${plural(deadLetterQueue.visible, "message")}: the next run of the clock sends ${deadLetterQueue.visible === 1 ? "it" : "them"} back.</p>`}
      <div class="cards">${items.map((queue) => html`<${Queue} key=${`${queue.kind} ${queue.name}`} queue=${queue} refresh=${polled.refresh} />`)}</div>
      ${items.some(({ lanes }) => lanes.some(({ depth }) => depth)) && html`<p class="soft">In flight are messages that SQS has handed out and not got back, as it counts them, about right: begun, held in a worker's batch, or
        waiting for their next attempt. Running are jobs whose attempt has begun, by the ledger.</p>`}
      ${leftOut > 0 && html`<p class="soft">${plural(leftOut, "more queue")} with less to do.</p>`}`}</${Loaded}>
    <${Limits} />`;
}

function Queue({ queue, refresh }) {
  const { act: may } = useMay();
  const { paused } = queue;
  const isPolled = queue.kind === "topic" && queue.consumers.length === 0;
  const kind = queue.kind === "topic" ? "message" : "task";
  const lanes = queue.lanes.filter(({ depth }) => depth);
  return html`<article>
    <div class="head"><h2>${queue.name}</h2><span class="tag">${isPolled ? "polled by clients" : queue.kind}</span>
      ${paused && html`<${State} state="paused" text=${html`${paused.unhandled ? "has no handler" : paused.resuming ? "resuming" : "paused"} <${Ago} at=${paused.since} />${paused.by ? ` by ${paused.by}` : ""}`} />`}
      ${may && html`<${PauseButton} of="queue" name=${queue.name} paused=${paused} refresh=${refresh} />`}</div>
    <dl class="row"><div><dt>Pending</dt><dd>${count(queue.pending)}</dd></div><div><dt>Running</dt><dd>${count(queue.running)}</dd></div><div><dt>Oldest ready</dt><dd>${duration(queue.oldestReadyMs)}</dd></div></dl>
    ${queue.slots.map((slots) => html`<${Slots} key=${slots.type} slots=${slots} isOne=${queue.types.length === 1} />`)}
    ${lanes.length > 0 && html`<table><thead><tr><th>Lane</th><th class="number">Visible</th><th class="number">In flight</th><th class="number">Delayed</th></tr></thead>
      <tbody>${lanes.map(({ name, depth }) => html`<tr key=${name}><td>${name}</td>${[depth.visible, depth.inFlight, depth.delayed].map((each) => html`<td class=${each ? "number" : "number soft"}>${count(each)}</td>`)}</tr>`)}</tbody></table>`}
    <p class="soft types">${queue.types.map((type, index) => html`${index > 0 ? ", " : ""}<a href=${hrefOf(["jobs"], { kind, type })}>${type}</a>${isPausedAlone(queue, type) ? " (paused)" : ""}`)}</p>
  </article>`;
}

function isPausedAlone({ types, pauses }, type) {
  return types.length > 1 && pauses.some((pause) => pause.type === type);
}

function Slots({ slots, isOne }) {
  const { type, limit, running, waiting } = slots;
  return html`<div class="slots">${!isOne && html`<span>${type}</span>`}<meter min="0" max=${limit} value=${running} aria-label=${`Slots of ${type} in use`}></meter>
    <span>${count(running)} of ${plural(limit, "slot")}${waiting ? `, ${count(waiting)} wait` : ""}</span></div>`;
}
