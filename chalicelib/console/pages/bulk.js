// Acts on many jobs: which there were, how far one is, what it came to.
import { ACTS } from "../acts.js";
import { ask } from "../api.js";
import { ActButton, useMay } from "../components/acting.js";
import { Facts } from "../components/fields.js";
import { JobLink } from "../components/jobs.js";
import { State } from "../components/marks.js";
import { Empty, Loaded, announce } from "../components/notes.js";
import { Ago, Clock } from "../components/times.js";
import { count, plural } from "../format.js";
import { html, useEffect, useState } from "../lib.js";
import { usePolled } from "../polling.js";
import { hrefOf, queryText } from "../router.js";

const EVERY_MS = 5_000;
const OTHERS_MS = 1_000; // to wait while another makes a step
const RESULTS_MAX = 100_000; // lines of a file that a browser is given

export function BulkActs() {
  const polled = usePolled("/api/bulk", EVERY_MS);
  return html`<div class="title"><h1>Bulk acts</h1></div>
    <${Loaded} polled=${polled} what="The list of bulk acts">${({ items }) => (items.length === 0
      ? html`<${Empty} title="There was none yet.">Filter the <a href=${hrefOf(["jobs"])}>jobs</a> and take all that match, or act on a kind of <a href=${hrefOf(["failures"])}>failure</a>.</${Empty}>`
      : html`<div class="scrolls" role="region" aria-label="Bulk acts" tabindex="0"><table>
        <thead><tr><th>State</th><th>Act</th><th>Of what</th><th class="number">Done</th><th class="number">Refused</th><th class="wide">By</th><th class="number">Started</th></tr></thead>
        <tbody>${items.map((act) => html`<tr key=${act.id} data-row><td><${State} state=${act.state} /></td><td><a href=${hrefOf(["bulk", act.id])}>${labelOf(act)}</a></td>
          <td>${ofWhat(act)}</td><td class="number">${count(act.done)}</td><td class="number">${count(act.refused)}</td><td class="wide">${act.by}</td><td class="number"><${Ago} at=${act.startedAt} /></td></tr>`)}</tbody></table></div>`)}</${Loaded}>`;
}

function labelOf({ act }) {
  return ACTS[act]?.label || act;
}

function ofWhat({ filter, named }) {
  if (named) return html`<span class="pair">${plural(named, "job")} by hand</span>`;
  const known = Object.entries(filter).filter(([, value]) => value && value.length !== 0);
  return known.map(([name, value]) => html`<span class="pair"><span class="soft">${name}</span> ${[value].flat().join(", ")}</span> `);
}

export function BulkAct({ id }) {
  const path = `/api/bulk/${encodeURIComponent(id)}`;
  const [stepped, setStepped] = useState(null);
  const polled = usePolled(path, stepped?.state === "stopping" ? OTHERS_MS : EVERY_MS);
  const act = newest(polled.data, stepped);
  useStepping(path, act, setStepped);
  return html`<${Loaded} polled=${polled} what="The bulk act">${() => html`<${Running} path=${path} act=${act} onStopped=${setStepped} />`}</${Loaded}>`;
}

function later(afterMs) {
  return new Promise((resolve) => setTimeout(resolve, afterMs));
}

function newest(polled, stepped) {
  if (!polled || !stepped) return stepped || polled;
  return polled.state !== "running" || polled.done + polled.refused > stepped.done + stepped.refused ? polled : stepped;
}

// Whoever looks at one that runs does its next step; it goes on by the clock when nobody looks.
function useStepping(path, act, setStepped) {
  const { act: may } = useMay();
  const isRunning = may && act?.state === "running";
  useEffect(() => {
    if (!isRunning) return undefined;
    const controller = new AbortController();
    (async () => {
      let state = "running";
      let last = null;
      while (state === "running" && !controller.signal.aborted) {
        const next = await ask("POST", `${path}/step`, { body: {}, signal: controller.signal });
        if (JSON.stringify(next) === JSON.stringify(last)) await later(OTHERS_MS); // somebody else is at it
        last = next;
        state = next.state;
        setStepped(next);
      }
    })().catch((error) => controller.signal.aborted || announce(error.message, true));
    return () => controller.abort();
  }, [path, isRunning]);
}

function Running({ path, act, onStopped }) {
  const { act: may } = useMay();
  const stop = async () => {
    const now = await ask("POST", `${path}/stop`, { body: {} });
    onStopped(now);
    return `The bulk act is ${now.state}`;
  };
  const isOver = !["running", "stopping"].includes(act.state);
  return html`<div class="title"><h1>${labelOf(act)} ${ofWhat(act)}</h1><div class="acts">
      ${may && act.state === "running" && html`<${ActButton} label="Stop" says="Ends it behind the step that is being made; what is done stays done." act=${stop} />`}
      <button type="button" onClick=${() => download(path, act)}>Download the result</button></div></div>
    <div class="bulk"><p role="status"><${State} state=${act.state} /> ${count(act.done)} done${act.refused ? `, ${count(act.refused)} refused` : ""}${act.changed ? `, ${count(act.changed)} changed by others before their turn` : ""}${act.matched !== null ? ` of ${count(act.matched)}` : ""}${act.named > act.matched ? `; ${count(act.named - act.matched)} that were named are in no state for it, or gone` : ""}</p>
      ${!isOver && html`<progress max="1" value=${act.progress ?? undefined} aria-label="Progress of the bulk act"></progress>
        <p class="soft">${act.state === "stopping" ? "The step that is being made may still act on up to 100 jobs, and is counted then." : "It goes on when you leave this page."}</p>`}</div>
    <${Facts} facts=${[["By", act.by], ["Started", html`<${Clock} at=${act.startedAt} />`], ["Ended", act.endedAt && html`<${Clock} at=${act.endedAt} />`]]} />
    ${act.newestErrors.length > 0 && html`<section><h2>Refused last</h2><ul class="list">${act.newestErrors.map(({ id, error }) => html`<li key=${id} data-row><p><${JobLink} id=${id} /></p><p class="error line">${error}</p></li>`)}</ul></section>`}
    ${!act.named && html`<p><a href=${hrefOf(["jobs"], { ...act.filter, state: null })}>The jobs that it is about</a></p>`}`;
}

async function download(path, act) {
  const lines = ["id,ok,error"];
  try {
    for (let cursor = null, isFirst = true; isFirst || (cursor && lines.length < RESULTS_MAX); isFirst = false) {
      const page = await ask("GET", `${path}/result${queryText({ cursor })}`);
      lines.push(...page.items.map(({ id, ok, error }) => [id, ok, quoted(error)].join(",")));
      cursor = page.nextCursor;
    }
  } catch (error) {
    return announce(error.message, true);
  }
  const url = URL.createObjectURL(new Blob([`${lines.join("\n")}\n`], { type: "text/csv" }));
  Object.assign(document.createElement("a"), { href: url, download: `bulk-${act.id}.csv` }).click();
  return URL.revokeObjectURL(url);
}

// As CSV (RFC 4180); a sign in front keeps spreadsheets from taking a text for a formula.
function quoted(text) {
  if (!text) return "";
  return `"${(/^[=+\-@\t]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
}

