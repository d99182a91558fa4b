// What controls the flow of jobs, as declared and as set, and keys that are paused; seen, and changed by those who may.
import { ask } from "../api.js";
import { NONE, count } from "../format.js";
import { html, useState } from "../lib.js";
import { usePolled } from "../polling.js";
import { queryText } from "../router.js";
import { ActButton, useMay } from "./acting.js";
import { Confirm } from "./dialogs.js";
import { FlowDialog } from "./flow_form.js";
import { TargetFields, bodyOf, fieldsOf, nameOf, targetOf } from "./flow_target.js";
import { State } from "./marks.js";
import { announce } from "./notes.js";
import { Ago } from "./times.js";

const EVERY_MS = 15_000;

export function Limits() {
  const { data: flow, refresh } = usePolled("/api/flow", EVERY_MS);
  const { act: may } = useMay();
  const [asked, setAsked] = useState(null); // {target, isPause}
  if (!flow) return null;
  const rows = rowsOf(flow);
  if (!may && rows.length === 0 && flow.paused.length === 0) return null;
  const edit = (row) => setAsked({ target: row });
  return html`<section class="flow"><div class="head"><h2>Flow control</h2>${may && html`<button type="button" onClick=${() => edit({})}>Set a limit …</button>
      <button type="button" onClick=${() => setAsked({ target: {}, isPause: true })}>Pause a key …</button>`}</div>
    ${rows.length + flow.paused.length === 0 ? html`<p class="soft">Nothing is declared or set, and no key is paused.</p>` : html`<div class="scrolls below" role="region" aria-label="Flow control" tabindex="0"><table>
      <thead><tr><th>Of</th><th>Key</th><th class="number">At once</th><th class="number">Rate</th><th class="wide">From</th>${may && html`<th><span class="hidden">Acts</span></th>`}</tr></thead>
      <tbody>${rows.map((row) => html`<${Row} key=${`${row.from} ${nameOf(row)}`} row=${row} may=${may} onEdit=${edit} refresh=${refresh} />`)}
        ${flow.paused.map((each) => html`<tr key=${`paused ${nameOf(each)}`} data-row><td>${each.type || each.topic}</td><td>${each.key}</td><td class="number" colspan="2"><${State} state="paused" text=${each.resuming ? "resuming" : "paused"} /></td>
          <td class="wide soft"><${Who} by=${each.by} at=${each.since} /></td>${may && html`<td class="number"><div class="acts"><${Resume} target=${each} refresh=${refresh} /></div></td>`}</tr>`)}</tbody></table></div>`}
    ${asked && html`<${asked.isPause ? PauseDialog : FlowDialog} target=${asked.target} flow=${flow} onClose=${() => setAsked(null)} onDone=${refresh} />`}
  </section>`;
}

function rowsOf(flow) {
  const declared = flow.declared.map((each) => ({
    ...each, key: null, from: "declared", concurrency: each.concurrency, ofEachKey: each.perKey, keyFrom: each.key,
  }));
  return [...flow.set.map((each) => ({ ...each, from: "set" })), ...declared];
}

// What has no column of its own.
function besideText({ order, unique, debounce }) {
  const told = [
    order && `order: ${order}`,
    unique && `unique: ${controlText(unique, ({ until, forS }) => [until && `until ${until}`, forS && `${forS} s`])}`,
    debounce && `debounce: ${controlText(debounce, ({ waitS, latestS }) => [`${waitS} s`, latestS && `at most ${latestS} s`])}`,
  ];
  return told.filter(Boolean).join("; ");
}

function controlText(control, partsOf) {
  return control === "off" ? control : [...partsOf(control), control.by && `by ${control.by}`].filter(Boolean).join(", ");
}

function Row({ row, may, onEdit, refresh }) {
  const unset = async () => {
    await ask("DELETE", `/api/flow${queryText({ ...targetOf(row), ifVersion: row.version })}`);
    return `${nameOf(row)} is controlled as declared`;
  };
  return html`<tr data-row><td>${row.type || row.topic}<div class="soft">${besideText(row)}</div>${row.warning && html`<div class="warning">${row.warning}</div>`}</td><td>${row.key || html`<span class="soft">${row.keyFrom ? `each ${row.keyFrom}` : "all"}</span>`}</td>
    <td class="number" data-label="At once">${limitText(row.concurrency, row.ofEachKey?.concurrency)}</td><td class="number" data-label="Rate">${rateText(row.rate, row.ofEachKey?.rate)}</td>
    <td class="wide soft">${row.from === "set" ? html`<${Who} by=${row.by} at=${row.since} />` : "declared"}</td>
    ${may && html`<td class="number"><div class="acts"><button type="button" aria-label=${`Change what controls ${nameOf(row)}`} onClick=${() => onEdit(row)}>Change …</button>
      ${row.from === "set" && html`<${ActButton} label="Unset" says="Controls it as declared again." act=${unset} onDone=${refresh} />`}</div></td>`}</tr>`;
}

function Who({ by, at }) {
  return html`${by ? `${by}, ` : ""}<${Ago} at=${at} />`;
}

function Resume({ target, refresh }) {
  const resume = async () => {
    await ask("POST", "/api/flow/resume", { body: targetOf(target) });
    return `${nameOf(target)} goes on`;
  };
  return html`<${ActButton} label="Resume" says="Lets its jobs begin again, those that waited first." act=${resume} onDone=${refresh} />`;
}

function limitText(all, each) {
  return [all && count(all), each && `${count(each)} a key`].filter(Boolean).join(", ") || NONE;
}

function rateText(all, each) {
  const text = (rate) => `${count(rate.count)}${rate.perSeconds === 1 ? "/s" : ` in ${rate.perSeconds} s`}${rate.burst > 1 ? `, ${count(rate.burst)} at once` : ""}`;
  return [all && text(all), each && `${text(each)} a key`].filter(Boolean).join("; ") || NONE;
}

function PauseDialog({ target, onClose, onDone }) {
  const [of, setOf] = useState(fieldsOf(target));
  async function pause() {
    await ask("POST", "/api/flow/pause", { body: bodyOf(of) });
    announce(`${nameOf(bodyOf(of))} is paused: workers notice within 5 s`);
    onDone();
  }
  return html`<${Confirm} title="Pause a key" confirm="Pause it" onConfirm=${pause} onClose=${onClose} isReady=${Boolean(of.name && of.key)}>
    <p>Jobs of this key do not begin until it is resumed; what runs goes on.</p>
    <div class="options below"><${TargetFields} of=${of} onChange=${setOf} /></div>
  </${Confirm}>`;
}
