// Queues with their lanes, and pools with their slots: how deep, how old, paused or bounded.
import { PauseButton } from "./overview.js";
import { useMay } from "../components/acting.js";
import { State } from "../components/marks.js";
import { Empty, Loaded } from "../components/notes.js";
import { Ago } from "../components/times.js";
import { NONE, count, duration, perSecond, plural } from "../format.js";
import { html } from "../lib.js";
import { usePolled } from "../polling.js";
import { hrefOf } from "../router.js";

const EVERY_MS = 5_000;
const FLOW_EVERY_MS = 15_000;

export function Queues() {
  const polled = usePolled("/api/queues", EVERY_MS);
  const flow = usePolled("/api/flow", FLOW_EVERY_MS);
  return html`<div class="title"><h1>Queues</h1></div>
    <${Loaded} polled=${polled} what="The list of queues">${({ items, leftOut, deadLetterQueue }) => html`
      ${items.length === 0 && html`<${Empty} title="There are no queues.">Declare a handler, and its queue is made.</${Empty}>`}
      ${deadLetterQueue?.visible > 0 && html`<p class="bad">SQS has given up ${plural(deadLetterQueue.visible, "message")}: the next run of the clock sends ${deadLetterQueue.visible === 1 ? "it" : "them"} back.</p>`}
      <div class="cards">${items.map((queue) => html`<${Queue} key=${`${queue.kind} ${queue.name}`} queue=${queue} refresh=${polled.refresh} />`)}</div>
      ${leftOut > 0 && html`<p class="soft">${plural(leftOut, "more queue")} with less to do.</p>`}`}</${Loaded}>
    ${flow.data && html`<${Limits} flow=${flow.data} />`}`;
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

function Limits({ flow }) {
  const rows = [
    ...flow.set.map((each) => ({ ...each, from: "set" })),
    ...flow.declared.map((each) => ({ ...each, key: typeof each.key === "string" ? `each ${each.key}` : null, from: "declared" })),
  ].filter((each) => each.concurrency || each.rate || each.perKey?.concurrency || each.perKey?.rate);
  if (rows.length === 0 && flow.paused.length === 0) return null;
  return html`<section><h2>Limits</h2><div class="scrolls" role="region" aria-label="Limits" tabindex="0"><table>
    <thead><tr><th>Of</th><th>Key</th><th class="number">At once</th><th class="number">Rate</th><th>From</th></tr></thead>
    <tbody>${rows.map((each, index) => html`<tr key=${index}><td>${each.type || each.topic}</td><td>${each.key || html`<span class="soft">all</span>`}</td>
      <td class="number">${limitText(each.concurrency, each.perKey?.concurrency)}</td><td class="number">${rateText(each.rate || each.perKey?.rate)}</td><td class="soft">${each.from}</td></tr>`)}
      ${flow.paused.map((each) => html`<tr key=${`paused ${each.type} ${each.topic} ${each.key}`}><td>${each.type || each.topic}</td><td>${each.key}</td><td colspan="3"><${State} state="paused" /></td></tr>`)}</tbody>
  </table></div><p class="soft">Set others with PUT /api/flow or <code>taskyard flow</code>.</p></section>`;
}

function limitText(all, each) {
  return [all && count(all), each && `${count(each)} a key`].filter(Boolean).join(", ") || NONE;
}

function rateText(rate) {
  return rate ? `${perSecond(rate.count / rate.perSeconds)}${rate.burst > 1 ? `, ${count(rate.burst)} at once` : ""}` : NONE;
}
