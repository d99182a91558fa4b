// One job: what became of it and why, what it was given and made, and what can be done.
import { ACTS, actOn } from "../acts.js";
import { ask, session } from "../api.js";
import { JobActs, useMay } from "../components/acting.js";
import { Confirm } from "../components/dialogs.js";
import { Facts } from "../components/fields.js";
import { JsonField } from "../components/forms.js";
import { Graph } from "../components/graph.js";
import { JobLink, JobTable, Progress, isOver, targetOf } from "../components/jobs.js";
import { Json } from "../components/json.js";
import { State } from "../components/marks.js";
import { Loaded, Loading, announce } from "../components/notes.js";
import { Ago, Clock, withTimes } from "../components/times.js";
import { bytes, count, duration } from "../format.js";
import { html, useRef, useState } from "../lib.js";
import { usePolled } from "../polling.js";
import { hrefOf, queryText } from "../router.js";
import { useStore } from "../stores.js";

const RUNNING_EVERY_MS = 2_000;
const RESTING_EVERY_MS = 10_000;

export function Job({ id }) {
  const [everyMs, setEvery] = useState(RUNNING_EVERY_MS);
  const polled = usePolled(`/api/job/${encodeURIComponent(id)}/detail`, everyMs);
  const wasSeen = useRef(false);
  wasSeen.current ||= Boolean(polled.data);
  const rests = polled.data && isOver(polled.data.row);
  if (rests !== null && rests !== (everyMs === RESTING_EVERY_MS)) setEvery(rests ? RESTING_EVERY_MS : RUNNING_EVERY_MS);
  if (!polled.data) return html`<h1>Job ${id}</h1><${Loaded} polled=${polled} what="The job" />${!wasSeen.current && polled.error?.status === 404 && html`<${GraphOf} id=${id} />`}`;
  return html`<${Detail} detail=${polled.data} refresh=${polled.refresh} />`;
}

// Graphs have their numbers from where jobs have theirs.
function GraphOf({ id }) {
  const { who } = useStore(session);
  const graph = usePolled(`${who.prefixes.tasks}/graph${queryText({ id })}`, 0);
  return graph.data && html`<p>This is the number of a graph: <a href=${hrefOf(["graphs", id])}>${graph.data.name ?? `#${id}`}</a></p>`;
}

function Detail({ detail, refresh }) {
  const { row } = detail;
  const [isRerunning, setRerunning] = useState(false);
  const done = (act) => (act === "delete" ? ["jobs"] : refresh());
  return html`
    <div class="title job"><h1><${State} state=${row.state} /> <span class="type">${row.type}</span> <span class="id">#${row.id}</span></h1>
      <${JobActs} row=${row} acts=${detail.acts} onDone=${done} onRefused=${refresh} onRerun=${() => setRerunning(true)} /></div>
    <${Why} detail=${detail} />
    ${row.progress !== null && row.state !== "success" && html`<p class="far"><${Progress} progress=${row.progress} message=${detail.message} isWide=${true} /></p>`}
    ${detail.graph && html`<${Graph} key=${detail.graph.id} id=${detail.graph.id} job=${row.id} onActed=${refresh} />`}
    <div class="split even">
      <div>
        <section><h2>Timeline</h2><${Timeline} events=${detail.timeline} /></section>
        <section><h2>Facts</h2><${AllFacts} detail=${detail} /></section>
      </div>
      <div>
        <${Value} id=${row.id} name="input" title="Input" detail=${detail} size=${detail.inputBytes} />
        <${Value} id=${row.id} name="output" title="Output" detail=${detail} />
        <${Lines} title="Log" lines=${[...detail.log].reverse()} show=${({ message, data }) => [message, data && html` <span class="soft">${JSON.stringify(data)}</span>`]} />
        <${Lines} title="Printed and logged" lines=${detail.console} show=${({ source, text }) => [source !== "stdout" && html`<span class="soft">${source} </span>`, text]} />
        <${Further} detail=${detail} />
      </div>
    </div>
    ${detail.children.length > 0 && html`<section><h2>Children</h2><${JobTable} rows=${detail.children} label="Children" /></section>`}
    ${isRerunning && html`<${Rerun} detail=${detail} onClose=${() => setRerunning(false)} />`}`;
}

const COMMANDS = { retry: /^tasks retry/, replay: /^dlq replay/, promote: /^tasks promote/, complete: /^tasks complete/, cancel: /^tasks cancel/ };

function Why({ detail }) {
  const { row, why } = detail;
  return html`<div class=${`why is-${row.state}`}>
    <p><strong>${withTimes(why.sentence)}</strong> ${why.since && html`<span class="soft">So since <${Clock} at=${why.since} />.</span>`}
      ${why.expectedStart && html` <span class="soft">Expected to start <${Ago} at=${why.expectedStart} />.</span>`}</p>
    ${detail.error && row.state !== "success" && !why.sentence.includes(detail.error) && html`<pre class="error">${detail.errorWhere ? `${detail.errorType}: ` : ""}${detail.error}</pre>`}
    ${detail.errorWhere && row.state !== "success" && html`<p class="soft"><code>${detail.errorWhere}</code></p>`}
    ${why.remedy && html`<p><${Remedy} text=${why.remedy} acts=${detail.acts} /></p>`}
    ${row.fingerprint && row.state === "failed" && html`<p class="soft"><a href=${hrefOf(["jobs"], { kind: row.kind, type: row.type, state: "failed", fingerprint: row.fingerprint })}>Those that failed alike</a></p>`}
    ${detail.replayOf && html`<p class="soft">A replay of <${JobLink} id=${detail.replayOf} />.</p>`}
    ${detail.replayedAs && html`<p class="soft">Replayed as <${JobLink} id=${detail.replayedAs} />.</p>`}
  </div>`;
}

// The button that does the same, where there is one, before the command.
function Remedy({ text, acts }) {
  const { act: may } = useMay();
  const [, command] = /^`taskyard (.*?)`/.exec(text) || [];
  const [act] = Object.entries(COMMANDS).find(([, pattern]) => pattern.test(command)) || [];
  const button = may && acts.includes(act) && html`<strong>${ACTS[act].label}</strong> above, or `;
  const queues = may && /^(flow )?resume/.test(command) && html`<a href=${hrefOf(["queues"])}>Resume</a> on the page of queues, or `;
  return html`${button || queues}${withCode(text)}`;
}

// What stands between back quotes is a command.
function withCode(text) {
  return text.split("`").map((part, index) => (index % 2 ? html`<code>${part}</code>` : part));
}

function Timeline({ events }) {
  if (events.length === 0) return html`<p class="soft">Its trace is no longer kept.</p>`;
  return html`<ol class="timeline">${events.map((each, index) => html`<li key=${index} class=${classOf(each.event)}>
    <span class="distance soft">${index > 0 ? `+${duration(each.sincePreviousMs)}` : ""}</span>
    <span class="event">${wordsOf(each.event)} <span class="soft">${withTimes(textOf(each.detail))}</span></span>
    <span class="soft at"><${Clock} at=${each.at} /></span></li>`)}</ol>`;
}

function classOf(event) {
  if (/fail|dead|lost|timed_out/.test(event)) return "bad";
  return /success|complete/.test(event) ? "good" : "";
}

function wordsOf(event) {
  return event === "dead" ? "failed for good" : spaced(event);
}

const NAMES_SHOWN = { consumerId: "by", error: "", cause: "", reason: "", runAt: "at", nextRetryAt: "next at" };

function textOf(detail) {
  const known = Object.entries(detail).filter(([, value]) => value !== null);
  return known.map(([name, value]) => `${NAMES_SHOWN[name] ?? name} ${name === "cause" ? spaced(value) : asText(value)}`.trim()).join(", ");
}

function asText(value) {
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function spaced(name) {
  return name.replaceAll("_", " ");
}

function AllFacts({ detail }) {
  const { row, usage, graph, parent, schedule } = detail;
  const filtered = (name, value) => value && html`<a href=${hrefOf(["jobs"], { [name]: value })}>${value}</a>`;
  return html`<${Facts} facts=${[
    ["Kind", row.kind],
    ["Target", row.targetId && html`<a href=${hrefOf(["jobs"], { targetType: row.targetType, targetId: row.targetId })}>${targetOf(row)}</a>`],
    ["Trace", filtered("traceId", row.traceId)],
    ["Priority", row.priority],
    ["Attempts", row.attempts > row.maxAttempts ? `${row.attempts} in all; the limit is ${row.maxAttempts}, anew at each retry` : `${row.attempts} of ${row.maxAttempts}`],
    ["Flow key", filtered("flowKey", row.flowKey)],
    ["Tenant", filtered("tenant", row.tenant)],
    ["Parent", parent && html`<${JobLink} id=${parent.id} /> ${parent.type}`],
    ["Graph", graph && html`<a href=${hrefOf(["graphs", graph.id])}>${graph.node} of ${graph.id}</a>`],
    ["Schedule", schedule && html`<a href=${hrefOf(["schedules", schedule])}>${schedule}</a>`],
    ["Created", html`<${Clock} at=${row.createdAt} />`],
    ["Due", row.dueAt && html`<${Clock} at=${row.dueAt} />`],
    ["Started", row.startedAt && html`<${Clock} at=${row.startedAt} />`],
    ["Ended", row.completedAt && html`<${Clock} at=${row.completedAt} />`],
    ["Ran", row.runMs ? duration(row.runMs) : null],
    ["Queue", detail.queue],
    ["Created by", detail.createdBy],
    ["Completed by", detail.completedBy],
    ["Worker", row.worker],
    ["Lease until", row.leaseUntil && html`<${Clock} at=${row.leaseUntil} />`],
    ["Cause", row.cause && spaced(row.cause)],
    ["Sends", usage && count(usage.sends)],
    ["Polls", usage?.polls ? count(usage.polls) : null],
    ["Payload", usage && bytes(usage.payloadBytes)],
  ]} />`;
}

// A value, or, where it is too large to be sent each time, a button that brings it.
function Value({ id, name, title, detail, size }) {
  const [whole, setWhole] = useState({ isAsked: false, value: undefined });
  const isLeftOut = detail[`${name}IsLeftOut`] && whole.value === undefined;
  const value = whole.value === undefined ? detail[name] : whole.value;
  async function bring() {
    setWhole({ isAsked: true, value: undefined });
    try {
      const found = await ask("GET", `/api/job/${encodeURIComponent(id)}/detail?whole=true`);
      setWhole({ isAsked: false, value: found[name] });
    } catch (error) {
      setWhole({ isAsked: false, value: undefined });
      announce(error.message, true);
    }
  }
  if (!isLeftOut && (value === null || value === undefined)) return null;
  return html`<section><h2>${title} ${size ? html`<span class="soft">${bytes(size)}</span>` : null}</h2>
    ${isLeftOut && (whole.isAsked ? html`<${Loading} />` : html`<p class="soft">It is large. <button type="button" onClick=${bring}>Show it</button></p>`)}
    ${!isLeftOut && html`<${Json} value=${value} label=${title} />`}
  </section>`;
}

function Lines({ title, lines, show }) {
  if (lines.length === 0) return null;
  return html`<section><h2>${title}</h2><div class="lines" role="log" aria-live="off" aria-label=${title} tabindex="0">${lines.map((line, index) => html`<p key=${index}>
    <span class="soft"><${Clock} at=${line.time} /></span> ${show(line)}</p>`)}</div></section>`;
}

function Further({ detail }) {
  const parts = [["Context", detail.context], ["Options", detail.options], ["Next", detail.next], ["Polls", detail.pollResults]];
  const known = parts.filter(([, value]) => value && Object.keys(value).length > 0);
  return known.map(([title, value]) => html`<section key=${title}><details><summary><h2>${title}</h2></summary><${Json} value=${value} label=${title} /></details></section>`);
}

function Rerun({ detail, onClose }) {
  const { row } = detail;
  const whole = usePolled(detail.inputIsLeftOut ? `/api/job/${encodeURIComponent(row.id)}/detail?whole=true` : null, 0);
  const given = detail.inputIsLeftOut ? whole.data?.input : detail.input;
  const isHere = !detail.inputIsLeftOut || Boolean(whole.data);
  const [edited, setEdited] = useState(null); // {input}
  const input = edited ? edited.input : given;
  async function run() {
    const { made } = await actOn(row.id, "rerun", { input: input ?? null });
    announce(`Job ${made} is made`);
    return ["jobs", made];
  }
  return html`<${Confirm} title=${`Run a copy of job ${row.id}`} confirm="Run it" isReady=${isHere} onConfirm=${run} onClose=${onClose}>
    <p>Makes a new ${row.kind} of the type ${row.type} with this input. Job ${row.id} stays as it is.</p>
    ${isHere ? html`<${JsonField} at="input" value=${given} onChange=${(next) => setEdited({ input: next })} rows=${12} label="Input" />`
      : whole.error ? html`<p class="bad" role="alert">${whole.error.message}</p>` : html`<${Loading} />`}
  </${Confirm}>`;
}
