// A graph, drawn, and as a table for who does not see it: on its own page, or on that of a job which is a node of it.
import { ask, session } from "../api.js";
import { count, plural } from "../format.js";
import { NODE, layoutOf } from "../layout.js";
import { html, useEffect, useMemo, useRef, useState } from "../lib.js";
import { usePolled } from "../polling.js";
import { hrefOf, queryText } from "../router.js";
import { useStore } from "../stores.js";
import { ActButton, useMay } from "./acting.js";
import { JobLink } from "./jobs.js";
import { Mark, State, shapeOf } from "./marks.js";
import { Loaded } from "./notes.js";
import { Clock } from "./times.js";

const DRAWN_MAX = 200; // nodes at a time
const RUNNING_EVERY_MS = 3_000;
const RESTING_EVERY_MS = 20_000;
const FINAL = ["success", "failed", "canceled"];

// ``job``: the node whose page this is; on the graph's own page there is none.
export function Graph({ id, job, onActed }) {
  const { who } = useStore(session);
  const [page, setPage] = useState(() => pageOf(id, job));
  const [everyMs, setEvery] = useState(RUNNING_EVERY_MS);
  const graph = usePolled(`${who.prefixes.tasks}/graph${queryText({ id })}`, everyMs);
  const nodes = usePolled(`${who.prefixes.tasks}/graph/nodes${queryText({ id, page, perPage: DRAWN_MAX })}`, everyMs);
  const isOver = Boolean(graph.data) && FINAL.includes(graph.data.status);
  useEffect(() => setEvery(isOver ? RESTING_EVERY_MS : RUNNING_EVERY_MS), [isOver]);
  const lastPage = nodes.data ? Math.ceil(nodes.data.totalCount / DRAWN_MAX) : page;
  useEffect(() => setPage(Math.min(page, lastPage)), [lastPage]); // its compensation stands behind the last node
  const refresh = () => { graph.refresh(); nodes.refresh(); onActed?.(); };
  const state = graph.data && html`<${State} state=${graph.data.status} />`;
  const name = graph.data?.name ?? `#${id}`;
  return html`<section>${job ? html`<div class="head"><h2>Graph <a href=${hrefOf(["graphs", id])}>${name}</a> ${state}</h2>${graph.data && html`<${GraphActs} graph=${graph.data} refresh=${refresh} />`}</div>`
      : html`<div class="title"><h1>${state} Graph ${name} ${graph.data?.name && html`<span class="id">#${id}</span>`}</h1>${graph.data && html`<${GraphActs} graph=${graph.data} refresh=${refresh} />`}</div>`}
    <${Loaded} polled=${nodes} what="The graph">${({ pageData, totalCount }) => html`
      ${graph.data && html`<p class="soft">${summaryOf(graph.data)}${!job && html`; made <${Clock} at=${graph.data.createdAt} />`}</p>`}
      ${totalCount > DRAWN_MAX && html`<p class="soft">At most ${DRAWN_MAX} nodes are drawn at a time: these are ${count((page - 1) * DRAWN_MAX + 1)} to ${count((page - 1) * DRAWN_MAX + pageData.length)} of ${count(totalCount)}, without lines to others.
        ${page > 1 && html`<button type="button" onClick=${() => setPage(page - 1)}>Those before</button>`}
        ${page < lastPage && html`<button type="button" onClick=${() => setPage(page + 1)}>Those behind</button>`}</p>`}
      <${Drawing} nodes=${pageData} job=${job} />
      <${Table} nodes=${pageData} />`}</${Loaded}>
  </section>`;
}

function GraphActs({ graph, refresh }) {
  const { who } = useStore(session);
  const { act: may } = useMay();
  const post = (act) => ask("POST", `${who.prefixes.tasks}/graph/${act}`, { body: { id: graph.id } });
  const retry = async () => { await post("retry"); return "The graph goes on"; };
  const cancel = async () => { await post("cancel"); return "The graph is canceled"; };
  const isOver = FINAL.includes(graph.status);
  if (!may || graph.status === "success") return null;
  if (!isOver) return html`<${ActButton} label="Cancel" subject="the graph" says="Ends what is not done of it, and starts nothing more." isAsked=${true} isDangerous=${true} act=${cancel} onDone=${refresh} />`;
  return graph.compensated === null && html`<${ActButton} label="Retry what failed" says="Runs what has failed of it, or was canceled, again, and goes on from there." act=${retry} onDone=${refresh} />`;
}

// Node number n of graph g is the task g + 1 + n.
function pageOf(id, job) {
  return job ? Math.floor((Number(job) - Number(id) - 1) / DRAWN_MAX) + 1 : 1;
}

function summaryOf({ size, counts, stoppedBy }) {
  const states = Object.entries(counts || {}).map(([status, number]) => `${count(number)} ${status}`);
  const stopped = stoppedBy ? `; stopped by ${stoppedBy}` : "";
  return `${plural(size, "node")}${states.length ? `: ${states.join(", ")}` : ""}${stopped}`;
}

function Drawing({ nodes, job }) {
  const region = useRef(null);
  const shape = JSON.stringify(nodes.map(({ name, after }) => [name, after]));
  const layout = useMemo(() => layoutOf(nodes), [shape]);
  useEffect(() => centre(region.current, layout.places[nodes.findIndex(({ taskId }) => taskId === job)]), [shape]);
  return html`<div class="graph" ref=${region} role="region" aria-label="The graph, drawn" tabindex="0">
    <svg width=${layout.width} height=${layout.height} role="group" aria-label="Nodes, each behind those that it comes after">
      <g class="edges" aria-hidden="true">${layout.lines.map((line) => html`<path key=${`${line.from} ${line.to}`} d=${curve(line.points)} />`)}</g>
      ${nodes.map((node, number) => html`<${Node} key=${node.name} node=${node} at=${layout.places[number]} isHere=${node.taskId === job} />`)}
    </svg></div>`;
}

function centre(region, place) {
  if (place) region.scrollTo(place.x + (NODE.width - region.clientWidth) / 2, place.y + (NODE.height - region.clientHeight) / 2);
}

function Node({ node, at, isHere }) {
  const label = `${node.name} ${node.status}, ${node.type}${isHere ? ", this job" : ""}`;
  const box = html`<title>${label}</title><rect width=${NODE.width} height=${NODE.height} rx="6" />
    <foreignObject width=${NODE.width} height=${NODE.height}><div class="inside"><${Mark} state=${node.status} /><div><span>${node.name}</span> <span class="soft">${node.status}, ${node.type}</span></div></div></foreignObject>`;
  const shared = { class: `node is-${shapeOf(node.status)} ${isHere ? "here" : ""}`, transform: `translate(${at.x} ${at.y})`, "aria-label": label };
  if (!node.taskId) return html`<g ...${shared} role="img">${box}</g>`;
  return html`<a ...${shared} href=${hrefOf(["jobs", node.taskId])} aria-current=${isHere ? "true" : undefined}>${box}</a>`;
}

function curve([[x, y], ...others]) {
  let path = `M${x} ${y}`;
  let [lastX, lastY] = [x, y];
  for (const [toX, toY] of others) {
    const middle = (lastX + toX) / 2;
    path += lastY === toY ? `H${toX}` : `C${middle} ${lastY} ${middle} ${toY} ${toX} ${toY}`;
    [lastX, lastY] = [toX, toY];
  }
  return path;
}

function Table({ nodes }) {
  return html`<details class="below"><summary>As a table</summary><div class="scrolls" role="region" aria-label="Nodes of the graph" tabindex="0"><table>
    <thead><tr><th>State</th><th>Node</th><th>Type</th><th>After</th><th class="number">Job</th></tr></thead>
    <tbody>${nodes.map((node) => html`<tr key=${node.name} data-row><td><${State} state=${node.status} /></td><td>${node.name}</td><td>${node.type}</td><td class="soft">${node.after.join(", ")}</td>
      <td class="number">${node.taskId ? html`<${JobLink} id=${node.taskId} />` : html`<span class="soft">none yet</span>`}</td></tr>`)}</tbody></table></div></details>`;
}
