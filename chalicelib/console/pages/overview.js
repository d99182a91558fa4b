// How it goes: figures, charts, queues, health, and what needs a look.
import { ask, setServerTime } from "../api.js";
import { ActButton, useMay } from "../components/acting.js";
import { Chart } from "../components/charts.js";
import { Choice, Facts } from "../components/fields.js";
import { JobLink } from "../components/jobs.js";
import { Mark, State } from "../components/marks.js";
import { Empty, Loaded } from "../components/notes.js";
import { Ago } from "../components/times.js";
import { NONE, count, duration, percent, perSecond, plural, shortCount } from "../format.js";
import { html, useEffect } from "../lib.js";
import { usePolled } from "../polling.js";
import { hrefOf, replaceQuery, useRoute } from "../router.js";

const WINDOWS = [["15m", "15 minutes"], ["1h", "1 hour"], ["6h", "6 hours"], ["24h", "24 hours"], ["7d", "7 days"], ["30d", "30 days"]];
const EVERY_MS = { "15m": 2_000, "1h": 2_000, "6h": 5_000, "24h": 10_000, "7d": 60_000, "30d": 60_000 };

function spanOf(query) {
  const asked = query.get("window");
  return EVERY_MS[asked] ? asked : "1h";
}

export function overviewPath(query) {
  return `/api/overview?window=${spanOf(query)}`;
}

export function Overview() {
  const { query } = useRoute();
  const [asked, span] = [query.get("window"), spanOf(query)];
  const polled = usePolled(overviewPath(query), EVERY_MS[span]);
  useEffect(() => polled.data && setServerTime(polled.data.now), [polled.data]);
  return html`
    <div class="title"><h1>Overview</h1>
      <${Choice} label="Last" value=${span} choices=${WINDOWS} onChange=${(next) => replaceQuery({ window: next })} /></div>
    ${asked && asked !== span && html`<p class="trying" role="alert">There is no window ${asked}: this is the last hour. There are ${WINDOWS.map(([each]) => each).join(", ")}.</p>`}
    <${Loaded} polled=${polled} what="The overview">${(seen) => html`
      <${Figures} seen=${seen} />
      <${Charts} series=${seen.series} stepMs=${seen.stepMs} />
      <div class="split">
        <${Queues} queues=${seen.queues} leftOut=${seen.queuesLeftOut} refresh=${polled.refresh} />
        <div>
          <${Standing} seen=${seen} />
          <${NewestFailures} failures=${seen.newestFailures} />
        </div>
      </div>`}</${Loaded}>`;
}

function Figures({ seen }) {
  const { totals, inWindow, deadLetters, oldest } = seen;
  const jobs = (state) => hrefOf(["jobs"], { state });
  return html`<ul class="figures">
    <${Figure} label="Pending" mark="pending" value=${totals.pending} href=${jobs("pending")}
      note=${oldest ? html`oldest ${duration(oldest.readyForMs)}` : "none is late"} />
    <${Figure} label="Running" mark="running" value=${totals.running} href=${jobs("running")}
      note=${inWindow.runMs ? html`p95 ${duration(inWindow.runMs.p95)}` : null} />
    <${Figure} label="Waiting" mark="waiting" value=${totals.waiting} href=${jobs("waiting")} note="for others" />
    <${Figure} label="Succeeded" mark="success" value=${inWindow.succeeded} href=${jobs("success")} note=${html`${percent(inWindow.successRatio)} of all`} />
    <${Figure} label="Failed" mark="failed" value=${inWindow.failed} href=${hrefOf(["failures"])} isBad=${inWindow.failed > 0}
      note=${html`${plural(inWindow.retried, "retry", "retries")}`} />
    <${Figure} label="Wait to start" value=${inWindow.waitMs ? inWindow.waitMs.p50 : null} show=${duration} note=${inWindow.waitMs ? html`p95 ${duration(inWindow.waitMs.p95)}` : null} />
    <${Figure} label="Dead letters" mark="failed" value=${deadLetters.total} href=${hrefOf(["failures"])} note=${html`${count(deadLetters.new)} new`} />
  </ul>`;
}

function Figure({ label, mark, value, show = shortCount, note, href, isBad }) {
  const inside = html`<span class="label">${mark && html`<${Mark} state=${mark} />`}${label}</span>
    <strong class=${isBad ? "bad" : ""} title=${typeof value === "number" ? count(value) : undefined}>${show(value)}</strong>
    <span class="soft note">${note}</span>`;
  return html`<li>${href ? html`<a href=${href}>${inside}</a>` : html`<div>${inside}</div>`}</li>`;
}

function Charts({ series, stepMs }) {
  const step = stepMs === 60_000 ? "minute" : duration(stepMs);
  return html`<div class="charts">
    <${Chart} label=${`Ended, each ${step}`} at=${series.at} lines=${[
      { label: "Succeeded", values: series.succeeded, colour: "--good", isFilled: true },
      { label: "Failed", values: series.failed, colour: "--bad" },
      { label: "Retried", values: series.retried, colour: "--warn", dash: [4, 3] },
    ]} />
    <${Chart} label="Came in, and waits" at=${series.at} lines=${[
      { label: "Accepted", values: series.accepted, colour: "--accent" },
      { label: "Pending", values: series.pending, colour: "--soft", dash: [4, 3], isFilled: true },
    ]} />
  </div>`;
}

function Queues({ queues, leftOut, refresh }) {
  const { act: may } = useMay();
  if (queues.length === 0) {
    return html`<section><h2>Queues</h2><${Empty} title="Nothing has been accepted yet.">
      <a href=${hrefOf(["create"])}>Create a task or publish a message</a>, or see how in /docs.</${Empty}></section>`;
  }
  return html`<section><h2>Types and topics</h2>
    <div class="scrolls" role="region" aria-label="Types and topics" tabindex="0"><table>
      <thead><tr><th>Name</th><th class="number">Pending</th><th class="number">Running</th><th class="number">Failed</th>
        <th class="number wide">Succeeded</th><th class="number wide">Rate</th><th class="number wide roomy">p95</th><th class="number">Oldest</th>${may && html`<th class="wide"><span class="hidden">Pause</span></th>`}</tr></thead>
      <tbody>${queues.map((queue) => html`<${QueueLine} key=${`${queue.kind} ${queue.type}`} queue=${queue} may=${may} refresh=${refresh} />`)}</tbody>
    </table></div>
    ${leftOut > 0 && html`<p class="soft">${plural(leftOut, "more type")} with less to do.</p>`}
  </section>`;
}

function QueueLine({ queue, may, refresh }) {
  const { kind, type, paused } = queue;
  const figure = (state, value) => html`<td class="number">${value ? html`<a class=${state === "failed" ? "bad" : "plain"} href=${hrefOf(["jobs"], { kind, type, state })}>${count(value)}</a>` : html`<span class="soft">0</span>`}</td>`;
  return html`<tr data-row>
    <td class="name-cell" title=${paused ? `${paused.queue ? `The queue ${paused.queue}` : type} is paused${by(paused)}` : type}>
      ${paused && html`<${State} state="paused" text=${html`<span class="hidden">paused</span>`} />`}<a href=${hrefOf(["jobs"], { kind, type })}>${type}</a>
      ${kind === "message" && html` <span class="tag">topic</span>`}</td>
    ${figure("pending", queue.pending)}${figure("running", queue.running)}${figure("failed", queue.failedInWindow)}
    <td class="number wide">${count(queue.succeededInWindow)}</td><td class="number wide">${perSecond(queue.perSecond)}</td>
    <td class="number wide roomy">${duration(queue.p95RunMs)}</td><td class="number">${duration(queue.oldestReadyMs)}</td>
    ${may && html`<td class="number wide"><${PauseButton} of=${kind === "task" ? "type" : "topic"} name=${type} paused=${paused} refresh=${refresh} /></td>`}
  </tr>`;
}

// ``of``: "type", "topic" or "queue". A pause that is there may be that of the whole queue, or of a queue's only type.
export function PauseButton({ of, name, paused, refresh }) {
  const target = paused?.queue ? { queue: paused.queue } : paused?.type ? { type: paused.type } : { [of]: name };
  const [named] = Object.values(target);
  const [verb, done, says] = paused
    ? ["Resume", "goes on", `Lets jobs of ${target.queue && named !== name ? `the whole queue ${named}` : named} begin again.`]
    : ["Pause", "is paused", `Begins no more jobs of ${named}; what runs goes on, what comes waits.`];
  const act = async () => {
    await ask("POST", `/api/queues/${verb.toLowerCase()}`, { body: target });
    return `${named} ${done}`;
  };
  return html`<${ActButton} label=${verb} says=${says} act=${act} onDone=${refresh} />`;
}

function by(paused) {
  return paused.by ? ` by ${paused.by}` : "";
}

function NewestFailures({ failures }) {
  return html`<section><h2>Newest failures</h2>
    ${failures.length === 0 ? html`<${Empty} title="Nothing has failed." />` : html`<ul class="list">
      ${failures.map((each) => html`<li key=${each.id} data-row><p><${JobLink} id=${each.id} /> <span class="type">${each.type}</span> <span class="soft right"><${Ago} at=${each.at} /></span></p>
        <p class="error line">${each.error}</p></li>`)}</ul>`}
  </section>`;
}

const TYPES_LOOKED_AT = 5; // for the oldest and for expired leases: those with the most

function amongWhich(queues, state) {
  const types = queues.filter((queue) => queue[state] > 0).length;
  return types > TYPES_LOOKED_AT ? html` <span class="soft">of the ${TYPES_LOOKED_AT} types with the most ${state}</span>` : "";
}

function Standing({ seen }) {
  const { health, changed, oldest, queues } = seen;
  const { clock, projector, leases, audit } = health;
  return html`<section><h2>Health</h2><${Facts} facts=${[
    ["Clock", html`<${State} state=${clock.status} /> ${clock.lastTickAt && html`<span class="soft">ran <${Ago} at=${clock.lastTickAt} /></span>`}`],
    ["Counters", projector.status === "unknown" ? null : html`<${State} state=${projector.status} /> ${projector.lagMs !== null && html`<span class="soft">${duration(projector.lagMs)} behind</span>`}`],
    ["Leases", html`${leases.expired ? html`<span class="bad">${plural(leases.expired, "worker")} silent for too long</span>` : html`<${State} state="ok" text="none has expired" />`}${amongWhich(queues, "running")}`],
    ["Audit", html`<${State} state=${audit.status} /> <span class="soft">${audit.missing ? `${count(audit.missing)} missing` : audit.at ? html`<${Ago} at=${audit.at} />` : "not yet run"}</span>`],
    ["Oldest waiting", oldest ? html`<${JobLink} id=${oldest.id} /> ${oldest.type}, <span class="soft">${duration(oldest.readyForMs)}</span>${amongWhich(queues, "pending")}` : NONE],
  ]} />
  ${changed.since && html`<h2>Since the last deploy</h2><${Facts} facts=${[
    ["Deployed", html`<${Ago} at=${changed.since} />`],
    ["New kinds of failure", changed.newFailureGroups === undefined ? null : changed.newFailureGroups ? html`<a class="bad" href=${hrefOf(["failures"], { since: "deploy" })}>${count(changed.newFailureGroups)}</a>` : "none"],
    ["Failed of what ended", changed.failureRatioAfter === null ? null : html`${percent(changed.failureRatioBefore)} before, ${percent(changed.failureRatioAfter)} since`],
  ]} />`}</section>`;
}
