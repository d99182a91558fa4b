// Tasks and messages in one list: filtered, sorted, live, acted upon.
import { ACTS } from "../acts.js";
import { useMay } from "../components/acting.js";
import { BulkDialog } from "../components/bulk.js";
import { Filters, filterIn } from "../components/filters.js";
import { JobTable } from "../components/jobs.js";
import { Empty, Loaded } from "../components/notes.js";
import { count } from "../format.js";
import { html, useEffect, useMemo, useRef, useState } from "../lib.js";
import { usePolled } from "../polling.js";
import { goTo, hrefOf, queryText, replaceQuery, useRoute } from "../router.js";

const EVERY_MS = 3_000;
const COUNTED_EVERY_MS = 15_000;
const PER_PAGE = 50;
const BULK_ACTS = ["retry", "replay", "promote", "cancel", "delete"];

export function Jobs() {
  const { query } = useRoute();
  const filter = filterIn(query);
  const order = query.get("order") === "updatedAt" ? "updatedAt" : "createdAt";
  const descending = query.get("descending") !== "false";
  const cursor = query.get("cursor");
  const asked = queryText({ ...filter, order, descending, cursor, perPage: PER_PAGE });
  const polled = usePolled(`/api/jobs${asked}`, EVERY_MS);
  const counted = usePolled(`/api/job/count${queryText(filter)}`, COUNTED_EVERY_MS);
  const change = (next, others = {}) => replaceQuery({ ...next, order: order === "createdAt" ? null : order, descending: descending ? null : false, ...others });
  return html`
    <div class="title"><h1>Jobs</h1>${counted.data && html`<p class="soft">${counted.data.exact ? "" : "at least "}${count(counted.data.count)}</p>`}</div>
    <${Filters} filter=${filter} order=${order} descending=${descending} onChange=${change} />
    <${Loaded} polled=${polled} what="The list">${(page) => html`
      <${List} key=${asked} page=${page} isOld=${polled.isOld} refresh=${polled.refresh} filter=${filter} order=${order} isFirst=${!cursor} total=${counted.data} />
      <${Pages} page=${page} cursor=${cursor} onGo=${(to) => goTo(["jobs"], Object.fromEntries([...queryEntries(query), ["cursor", to]]))} />`}</${Loaded}>`;
}

function queryEntries(query) {
  return [...new Set(query.keys())].map((name) => [name, query.getAll(name)]);
}

function List({ page, isOld, refresh, filter, order, isFirst, total }) {
  const list = useRef(null);
  const [selected, setSelected] = useState([]);
  const { rows, waiting, show } = useCalm(page.items, list, isFirst, selected.length > 0);
  const selection = useSelection(rows, selected, setSelected);
  const { act: may } = useMay();
  if (page.items.length === 0) return html`<${NothingFound} page=${page} filter=${filter} />`;
  return html`<div ref=${list} class=${isOld ? "old" : ""}>
    ${may && html`<${Acting} selected=${selected} filter=${filter} total=${total} onDone=${() => { setSelected([]); refresh(); }} />`}
    ${waiting > 0 && html`<button type="button" class="news" onClick=${show}>${waiting} new, show</button>`}
    <${JobTable} rows=${rows} label="Jobs" selection=${may ? selection : null} order=${order} />
  </div>`;
}

// Rows that stay where they are under the pointer: known ones are renewed in their place, new ones wait to be shown.
function useCalm(items, list, isFirst, isBusy) {
  const [shown, setShown] = useState(() => items.map(({ id }) => id));
  const isHeld = isBusy || (isFirst && (scrollY > 100 || list.current?.matches(":hover") || list.current?.contains(document.activeElement)));
  const ids = isHeld ? shown : items.map(({ id }) => id);
  const before = useRef([]);
  const known = new Map([...before.current, ...items].map((item) => [item.id, item]));
  const rows = ids.map((id) => known.get(id)).filter(Boolean);
  before.current = rows;
  useEffect(() => setShown(ids), [ids.join()]);
  const waiting = items.filter(({ id }) => !ids.includes(id)).length;
  return { rows, waiting, show: () => { setShown(items.map(({ id }) => id)); scrollTo(0, 0); document.activeElement?.blur(); } };
}

function useSelection(rows, selected, setSelected) {
  const last = useRef(null);
  return useMemo(() => ({
    has: (id) => selected.includes(id),
    set: setSelected,
    toggle(id, isRange) {
      const ids = rows.map((row) => row.id);
      const [from, to] = [ids.indexOf(last.current), ids.indexOf(id)].sort((a, b) => a - b);
      const range = isRange && from >= 0 ? ids.slice(from, to + 1) : [id];
      const isOn = !selected.includes(id);
      setSelected(isOn ? [...new Set([...selected, ...range])] : selected.filter((each) => !range.includes(each)));
      last.current = id;
    },
  }), [rows, selected]);
}

function Acting({ selected, filter, total, onDone }) {
  const [asked, setAsked] = useState(null); // which act
  const [isAll, setAll] = useState(false);
  useEffect(() => setAll(false), [selected.length]);
  const isOpen = selected.length > 0 || isAll;
  return html`<div class="acting" role="group" aria-label="Act on jobs">
    <span class="soft">${isAll ? "All that match" : selected.length ? `${selected.length} selected` : "Select rows, or"}</span>
    ${!isAll && total?.count > 0 && html`<button type="button" class="quiet" onClick=${() => setAll(true)}>take all that match</button>`}
    ${isOpen && BULK_ACTS.map((act) => html`<button key=${act} type="button" class=${ACTS[act].isDangerous ? "danger quiet" : ""}
      title=${ACTS[act].says("each of them")} onClick=${() => setAsked(act)}>${ACTS[act].label}</button>`)}
    ${isOpen && html`<button type="button" class="quiet" onClick=${() => { setAll(false); onDone(); }}>Clear</button>`}
    ${asked && html`<${BulkDialog} act=${asked} wanted=${isAll ? { filter } : { ids: selected }} onClose=${() => setAsked(null)} />`}
  </div>`;
}

function NothingFound({ page, filter }) {
  const isFiltered = Object.values(filter).some((value) => (Array.isArray(value) ? value.length : value));
  if (!page.complete) {
    return html`<${Empty} title=${`None of the newest ${count(page.looked)} jobs match.`}>Narrow it down by a type, a trace or a time, or look at older ones below.</${Empty}>`;
  }
  return isFiltered
    ? html`<${Empty} title="No job matches."><a href=${hrefOf(["jobs"])}>Clear the filter</a> to see all.</${Empty}>`
    : html`<${Empty} title="There are no jobs yet."><a href=${hrefOf(["create"])}>Create a task or publish a message</a>.</${Empty}>`;
}

function Pages({ page, cursor, onGo }) {
  if (!cursor && !page.nextCursor) return null;
  return html`<nav class="pages" aria-label="Pages of the list">
    ${cursor && html`<button type="button" onClick=${() => onGo(null)}>First page</button>
      <button type="button" onClick=${() => history.back()}>Back</button>`}
    ${page.nextCursor && html`<button type="button" onClick=${() => { onGo(page.nextCursor); scrollTo(0, 0); }}>Next page</button>`}
    ${!page.complete && html`<span class="soft">${count(page.looked)} were looked at.</span>`}
  </nav>`;
}
