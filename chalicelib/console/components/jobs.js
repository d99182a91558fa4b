// Jobs as rows.
import { NONE, duration } from "../format.js";
import { html } from "../lib.js";
import { hrefOf } from "../router.js";
import { State } from "./marks.js";
import { Ago } from "./times.js";

const JOB_STATES_THAT_END = ["success", "failed", "canceled"];

export function isOver(row) {
  return JOB_STATES_THAT_END.includes(row.state);
}

export function JobLink({ id, children = `#${id}` }) {
  return html`<a class="id" href=${hrefOf(["jobs", id])}>${children}</a>`;
}

// ``selection``: {has(id), toggle(row, event)}, where rows can be selected
export function JobTable({ rows, label, selection, order = "createdAt" }) {
  return html`<div class="scrolls" role="region" aria-label=${label} tabindex="0"><table class="jobs">
    <thead><tr>
      ${selection && html`<th class="tick"><${SelectAll} rows=${rows} selection=${selection} /></th>`}
      <th>State</th><th>Job</th><th>What</th><th class="wide">Target</th>
      <th class="number wide">Attempts</th><th class="number wide">Ran</th><th class="number">${order === "updatedAt" ? "Changed" : "Created"}</th>
    </tr></thead>
    <tbody>${rows.map((row) => html`<${JobLine} key=${row.id} row=${row} selection=${selection} order=${order} />`)}</tbody>
  </table></div>`;
}

function SelectAll({ rows, selection }) {
  const all = rows.length > 0 && rows.every(({ id }) => selection.has(id));
  return html`<input type="checkbox" aria-label="Select all shown" checked=${all} onChange=${() => selection.set(all ? [] : rows.map(({ id }) => id))} />`;
}

function JobLine({ row, selection, order }) {
  const isSelected = selection?.has(row.id);
  return html`<tr data-row class=${isSelected ? "selected" : ""}>
    ${selection && html`<td class="tick"><input type="checkbox" aria-label=${`Select job ${row.id}`} checked=${isSelected}
      onClick=${(event) => selection.toggle(row.id, event.shiftKey)} /></td>`}
    <td><${State} state=${row.state} /></td>
    <td><${JobLink} id=${row.id} /> <span class="type">${row.type}</span>${row.kind === "message" && html` <span class="tag">message</span>`}
      ${row.replayed && html` <span class="tag">replayed</span>`}</td>
    <td class="what"><${What} row=${row} /></td>
    <td class="wide target">${targetOf(row)}</td>
    <td class="number wide">${row.attempts}<span class="soft">/${row.maxAttempts}</span></td>
    <td class="number wide">${row.runMs ? duration(row.runMs) : NONE}</td>
    <td class="number"><${Ago} at=${row[order]} /></td>
  </tr>`;
}

// The most telling of what a row has: why it failed, how far it is, when it is due, what it was given.
function What({ row }) {
  if (row.state === "failed" && row.error) return html`<span class="error">${row.error}</span>`;
  if (row.state === "running" && row.progress !== null) return html`<${Progress} progress=${row.progress} />`;
  if (row.state === "pending" && row.error) return html`<span class="soft">after </span><span class="error">${row.error}</span>`;
  return html`<code class="soft">${row.summary ?? "a large input"}</code>`;
}

// ``progress``: 0 to 100
export function Progress({ progress, message, isWide }) {
  return html`<span class=${`progress ${isWide ? "big" : ""}`}><progress max="100" value=${progress} aria-label="Progress"></progress>
    <span>${Math.round(progress)} %</span>${message && html` <span class="soft">${message}</span>`}</span>`;
}

export function targetOf({ targetType, targetId }) {
  return [targetType, targetId].filter(Boolean).join(" ") || NONE;
}
