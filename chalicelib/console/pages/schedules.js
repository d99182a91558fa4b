// What runs by the clock: when next, what became of the last, now, or not for a while.
import { ask } from "../api.js";
import { ActButton, useMay } from "../components/acting.js";
import { Facts } from "../components/fields.js";
import { JobLink } from "../components/jobs.js";
import { Json } from "../components/json.js";
import { State } from "../components/marks.js";
import { Empty, Loaded } from "../components/notes.js";
import { Ago, Clock } from "../components/times.js";
import { NONE, count, duration } from "../format.js";
import { html, useState } from "../lib.js";
import { usePolled } from "../polling.js";
import { hrefOf, queryText } from "../router.js";

const EVERY_MS = 5_000;

export function Schedules() {
  const [cursors, setCursors] = useState([null]);
  const polled = usePolled(`/api/schedule/list${queryText({ perPage: 100, cursor: cursors.at(-1) })}`, EVERY_MS);
  const { makeSchedules: may } = useMay();
  return html`<div class="title"><h1>Schedules</h1>${may && html`<a class="button" href=${hrefOf(["create", "schedule"])}>New schedule</a>`}</div>
    <${Loaded} polled=${polled} what="The list of schedules">${({ pageData, nextCursor }) => html`
      ${pageData.length === 0 && html`<${Empty} title="Nothing runs by the clock.">Declare a schedule beside a handler, or make one here.</${Empty}>`}
      ${pageData.length > 0 && html`<div class="scrolls" role="region" aria-label="Schedules" tabindex="0"><table>
        <thead><tr><th>Name</th><th>When</th><th class="wide">Makes</th><th>Next</th><th class="number wide">Runs</th><th><span class="hidden">Acts</span></th></tr></thead>
        <tbody>${pageData.map((each) => html`<tr key=${each.name} data-row>
          <td><a href=${hrefOf(["schedules", each.name])}>${each.name}</a></td><td><${When} schedule=${each} /></td>
          <td class="wide">${each.task ? each.task.type : each.message.topic}</td>
          <td>${each.paused ? html`<${State} state="paused" />` : html`<${Ago} at=${each.nextRunAt} />`}</td><td class="number wide">${count(each.runs)}</td>
          <td class="number"><${ScheduleActs} schedule=${each} refresh=${polled.refresh} /></td></tr>`)}</tbody></table></div>`}
      <nav class="pages" aria-label="Pages of the list">
        ${cursors.length > 1 && html`<button type="button" onClick=${() => setCursors(cursors.slice(0, -1))}>Previous page</button>`}
        ${nextCursor && html`<button type="button" onClick=${() => setCursors([...cursors, nextCursor])}>Next page</button>`}</nav>`}</${Loaded}>`;
}

function When({ schedule }) {
  const { cron, everyS, at, timezone } = schedule;
  if (cron) return html`<code>${cron}</code> <span class="soft">${timezone}</span>`;
  return everyS ? `every ${duration(everyS * 1_000)}` : html`once, <${Clock} at=${at} />`;
}

function ScheduleActs({ schedule, refresh }) {
  const { schedules: may } = useMay();
  const { name, paused } = schedule;
  if (!may) return null;
  const body = { name };
  const run = async () => `${name} has made job ${(await ask("POST", "/api/schedule/run", { body })).id}`;
  const pause = async () => {
    await ask("POST", `/api/schedule/${paused ? "resume" : "pause"}`, { body });
    return `${name} ${paused ? "goes on" : "is paused"}`;
  };
  const says = paused ? "Goes on with the slots from now on." : "Makes no more of its slots until it is resumed.";
  return html`<div class="acts"><${ActButton} label="Run now" says="Makes what it makes, at once and beside its slots." act=${run} onDone=${refresh} />
    <${ActButton} label=${paused ? "Resume" : "Pause"} says=${says} act=${pause} onDone=${refresh} /></div>`;
}

function Delete({ schedule: { name, source } }) {
  const { makeSchedules: may } = useMay();
  const remove = async () => {
    await ask("POST", "/api/schedule/delete", { body: { name } });
    return `${name} is deleted`;
  };
  return may && source !== "code" && html`<${ActButton} label="Delete" subject=${name} says="Makes no more of its slots, for ever. What it has made stays." isAsked=${true} isDangerous=${true} act=${remove} onDone=${() => ["schedules"]} />`;
}

export function Schedule({ name }) {
  const polled = usePolled(`/api/schedule/detail${queryText({ name })}`, EVERY_MS);
  const history = usePolled(`/api/schedule/history${queryText({ name, perPage: 50 })}`, EVERY_MS);
  const refresh = () => { polled.refresh(); history.refresh(); };
  return html`<div class="title"><h1>${name}</h1>${polled.data && html`<${ScheduleActs} schedule=${polled.data} refresh=${refresh} /><${Delete} schedule=${polled.data} />`}</div>
    <${Loaded} polled=${polled} what="The schedule">${(schedule) => html`<div class="split even">
      <div><section><h2>Next</h2>${schedule.upcoming.length === 0 ? html`<p class="soft">${schedule.paused ? "It is paused." : "It is over."}</p>`
        : html`<ol class="plain">${schedule.upcoming.map((at) => html`<li key=${at}><${Clock} at=${at} /> <span class="soft"><${Ago} at=${at} /></span></li>`)}</ol>`}</section>
        <section><h2>Facts</h2><${Facts} facts=${[
          ["When", html`<${When} schedule=${schedule} />`],
          ["Runs", count(schedule.runs)],
          ["While the run before goes on", schedule.overlap],
          ["Missed slots", schedule.missed],
          ["Jitter", schedule.jitterS ? duration(schedule.jitterS * 1_000) : null],
          ["From", schedule.startAt && html`<${Clock} at=${schedule.startAt} />`],
          ["Until", schedule.endAt && html`<${Clock} at=${schedule.endAt} />`],
          ["Declared in", schedule.source === "code" ? "the code" : "the API"],
        ]} /></section>
        <section><h2>Makes</h2><${Json} value=${schedule.task || schedule.message} label="What it makes" /></section></div>
      <section><h2>History</h2><${Loaded} polled=${history} what="The history">${({ pageData }) => html`<${History} runs=${pageData} />`}</${Loaded}></section>
    </div>`}</${Loaded}>`;
}

function History({ runs }) {
  if (runs.length === 0) return html`<${Empty} title="It has not run yet." />`;
  return html`<table><thead><tr><th>Slot</th><th>What came of it</th><th class="number">Job</th></tr></thead>
    <tbody>${runs.map((run, index) => html`<tr key=${index} data-row><td><${Clock} at=${run.at} />${run.byRequest && html` <span class="tag">by request</span>`}</td>
      <td>${run.skipped ? html`<span class="soft">skipped: ${run.skipped}${run.count > 1 ? `, ${count(run.count)} times` : ""}</span>` : html`<${State} state=${run.status || "unknown"} />`}</td>
      <td class="number">${run.id ? html`<${JobLink} id=${run.id} />` : NONE}</td></tr>`)}</tbody></table>`;
}
