// What bounds jobs: limits as declared and as set, and keys that are paused; seen, and changed by those who may.
import { ask } from "../api.js";
import { NONE, count } from "../format.js";
import { html, useState } from "../lib.js";
import { usePolled } from "../polling.js";
import { queryText } from "../router.js";
import { ActButton, useMay } from "./acting.js";
import { Confirm } from "./dialogs.js";
import { Choice } from "./fields.js";
import { State } from "./marks.js";
import { announce } from "./notes.js";
import { Ago } from "./times.js";

const EVERY_MS = 15_000;
const KINDS = [["type", "Task type"], ["topic", "Topic"]];

export function Limits() {
  const { data: flow, refresh } = usePolled("/api/flow", EVERY_MS);
  const { act: may } = useMay();
  const [asked, setAsked] = useState(null); // {target, isPause}
  if (!flow) return null;
  const rows = rowsOf(flow);
  if (!may && rows.length === 0 && flow.paused.length === 0) return null;
  const edit = (row) => setAsked({ target: row });
  return html`<section><div class="head"><h2>Limits</h2>${may && html`<button type="button" onClick=${() => edit({})}>Set a limit …</button>
      <button type="button" onClick=${() => setAsked({ target: {}, isPause: true })}>Pause a key …</button>`}</div>
    ${rows.length + flow.paused.length === 0 ? html`<p class="soft">Nothing is bounded, and no key is paused.</p>` : html`<div class="scrolls below" role="region" aria-label="Limits" tabindex="0"><table>
      <thead><tr><th>Of</th><th>Key</th><th class="number">At once</th><th class="number">Rate</th><th class="wide">From</th>${may && html`<th><span class="hidden">Acts</span></th>`}</tr></thead>
      <tbody>${rows.map((row) => html`<${Row} key=${`${row.from} ${nameOf(row)}`} row=${row} may=${may} onEdit=${edit} refresh=${refresh} />`)}
        ${flow.paused.map((each) => html`<tr key=${`paused ${nameOf(each)}`} data-row><td>${each.type || each.topic}</td><td>${each.key}</td><td colspan="2"><${State} state="paused" text=${each.resuming ? "resuming" : "paused"} /></td>
          <td class="wide soft"><${Who} by=${each.by} at=${each.since} /></td>${may && html`<td class="number"><div class="acts"><${Resume} target=${each} refresh=${refresh} /></div></td>`}</tr>`)}</tbody></table></div>`}
    ${asked && html`<${asked.isPause ? PauseDialog : LimitDialog} target=${asked.target} set=${flow.set} onClose=${() => setAsked(null)} onDone=${refresh} />`}
  </section>`;
}

function rowsOf(flow) {
  const declared = flow.declared.map((each) => ({
    ...each, key: null, from: "declared", concurrency: each.concurrency, ofEachKey: each.perKey, keyFrom: each.key,
  }));
  const isBound = (each) => each.concurrency || each.rate || each.ofEachKey?.concurrency || each.ofEachKey?.rate;
  return [...flow.set.map((each) => ({ ...each, from: "set" })), ...declared.filter(isBound)];
}

// What is set beside limits, by HTTP or in a terminal: a new limit leaves it as it is.
function beside(set) {
  return Object.fromEntries(["order", "unique", "debounce"].filter((name) => set?.[name]).map((name) => [name, set[name]]));
}

function besideText(row) {
  if (row.from !== "set") return "";
  return Object.entries(beside(row)).map(([name, control]) => (typeof control === "string" ? `${name}: ${control}` : name)).join("; ");
}

function nameOf({ type, topic, key }) {
  return [type || `topic ${topic}`, key && `key ${key}`].filter(Boolean).join(", ");
}

function targetOf({ type, topic, key }) {
  return { ...(type ? { type } : { topic }), ...(key ? { key } : {}) };
}

function Row({ row, may, onEdit, refresh }) {
  const unset = async () => {
    await ask("DELETE", `/api/flow${queryText(targetOf(row))}`);
    return `${nameOf(row)} is bounded as declared`;
  };
  return html`<tr data-row><td>${row.type || row.topic}<div class="soft">${besideText(row)}</div></td><td>${row.key || html`<span class="soft">${row.keyFrom ? `each ${row.keyFrom}` : "all"}</span>`}</td>
    <td class="number">${limitText(row.concurrency, row.ofEachKey?.concurrency)}</td><td class="number">${rateText(row.rate, row.ofEachKey?.rate)}</td>
    <td class="wide soft">${row.from === "set" ? html`<${Who} by=${row.by} at=${row.since} />` : "declared"}</td>
    ${may && html`<td class="number"><div class="acts"><button type="button" aria-label=${`Change the limit of ${nameOf(row)}`} onClick=${() => onEdit(row)}>Change …</button>
      ${row.from === "set" && html`<${ActButton} label="Unset" says="Bounds it as declared again." act=${unset} onDone=${refresh} />`}</div></td>`}</tr>`;
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

function LimitDialog({ target, set, onClose, onDone }) {
  const { concurrency, rate } = target;
  const [limit, setLimit] = useState({ concurrency: concurrency ?? "", count: rate?.count ?? "", perSeconds: rate?.perSeconds ?? 1, burst: rate?.burst ?? 1 });
  const [of, setOf] = useState(fieldsOf(target));
  const field = (name, label, more = {}) => html`<label>${label}<input type="number" min="1" step="1" ...${more} value=${limit[name]} onInput=${(event) => setLimit({ ...limit, [name]: event.target.value })} /></label>`;
  async function save() {
    const { perSeconds, burst } = limit;
    const bounds = {
      ...beside(set.find((each) => nameOf(each) === nameOf(bodyOf(of)))),
      ...(limit.concurrency === "" ? {} : { concurrency: Number(limit.concurrency) }),
      ...(limit.count === "" ? {} : { rate: { count: Number(limit.count), perSeconds: Number(perSeconds), burst: Number(burst) } }),
    };
    await ask("PUT", "/api/flow", { body: { ...bodyOf(of), ...bounds } });
    announce(`${nameOf(bodyOf(of))} is bounded: workers notice within 5 s`);
    onDone();
  }
  return html`<${Confirm} title=${target.type || target.topic ? `Limit of ${nameOf(target)}` : "Set a limit"} confirm="Set it" onConfirm=${save} onClose=${onClose}
    isReady=${Boolean(of.name) && (limit.concurrency !== "" || limit.count !== "")}>
    <p>Takes the place of what is declared and of what was set. What is left empty is as declared.</p>
    <div class="options below"><${TargetFields} of=${of} onChange=${setOf} isFixed=${Boolean(target.type || target.topic)} keyNote="all of them together" />
      ${field("concurrency", "At once", { max: 1000 })}${field("count", "Rate: jobs")}
      ${field("perSeconds", "per seconds", { min: 0.001, step: "any" })}${field("burst", "Burst")}</div>
  </${Confirm}>`;
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

function fieldsOf({ type, topic, key }) {
  return { kind: topic ? "topic" : "type", name: type || topic || "", key: key || "" };
}

function bodyOf({ kind, name, key }) {
  return targetOf({ [kind]: name, key });
}

function TargetFields({ of, onChange, isFixed, keyNote }) {
  const { data } = usePolled(isFixed ? null : "/api/handlers", 0);
  const names = new Set((data || []).filter(({ kind }) => (kind === "message") === (of.kind === "topic")).map(({ type }) => type));
  const change = (name) => (event) => onChange({ ...of, [name]: event.target.value });
  return html`${!isFixed && html`<${Choice} label="Of a" value=${of.kind} choices=${KINDS} onChange=${(kind) => onChange({ ...of, kind })} />
      <label>Name<input required list="bounded" value=${of.name} onInput=${change("name")} /></label>
      <datalist id="bounded">${[...names].map((name) => html`<option key=${name} value=${name} />`)}</datalist>`}
    <label>Key<input value=${of.key} placeholder=${keyNote} required=${!keyNote} disabled=${isFixed && Boolean(of.key)} onInput=${change("key")} /></label>`;
}
