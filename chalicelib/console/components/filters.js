// The filter of the list of jobs: states at a click, the rest as words in the search or as fields.
import { html, useEffect, useLayoutEffect, useState } from "../lib.js";
import { usePolled } from "../polling.js";
import { goTo } from "../router.js";
import { Choice } from "./fields.js";
import { Mark, STATES } from "./marks.js";

const MORE = [
  ["type", "Type or topic"], ["kind", "Kind"], ["targetType", "Target's type"], ["targetId", "Target"], ["traceId", "Trace"], ["flowKey", "Flow key"],
  ["tenant", "Tenant"], ["schedule", "Schedule"], ["fingerprint", "Kind of failure"], ["since", "Created since"], ["until", "Created before"],
];
const LABELS = Object.fromEntries([...MORE, ["text", "Words"]]);
const WORDS = { topic: "type", target: "targetId", trace: "traceId", key: "flowKey" }; // of the search, for a filter's name
const ORDERS = [["createdAt true", "Newest first"], ["createdAt false", "Oldest first"], ["updatedAt true", "Changed last"], ["updatedAt false", "Changed first"]];
const KINDS = [["", "Tasks and messages"], ["task", "Tasks"], ["message", "Messages"]];

const NO_FILTERS = ["state", "order", "descending", "cursor"];

// What the address asks for, as it stands there: the API refuses what it does not know, so that a slip of the pen does
// not ask for everything.
export function filterIn(query) {
  const named = [...query].filter(([name, value]) => value && !NO_FILTERS.includes(name));
  const states = query.getAll("state").filter(Boolean);
  return { ...Object.fromEntries(named), ...(states.length ? { state: states } : {}) };
}

// "type:order.created trace:t-1 broken film" is a type, a trace and words; "#12" leads to a job.
function readSearch(text) {
  const words = [];
  const found = {};
  for (const word of text.trim().split(/\s+/)) {
    const [, name, value] = /^(\w+):(.+)$/.exec(word) || [];
    const filter = WORDS[name] || name;
    if (filter === "state") found.state = value.split(",");
    else if (filter in LABELS) found[filter] = value;
    else if (word) words.push(word);
  }
  return { ...found, text: words.join(" ") };
}

export function Filters({ filter, order, descending, onChange }) {
  const states = filter.state || [];
  const toggle = (state) => onChange({ ...filter, state: states.includes(state) ? states.filter((each) => each !== state) : [...states, state] });
  const chips = Object.entries(filter).filter(([name]) => name !== "state" && name !== "kind");
  return html`<div class="filters">
    <${Search} text=${filter.text || ""} onSearch=${(found) => onChange({ ...filter, ...found })} />
    <div class="states" role="group" aria-label="States">${STATES.map((state) => html`<button key=${state} type="button" class="chip"
      aria-pressed=${states.includes(state)} onClick=${() => toggle(state)}><${Mark} state=${state} />${state}</button>`)}</div>
    <${Choice} label="Kind" value=${filter.kind || ""} choices=${KINDS} onChange=${(kind) => onChange({ ...filter, kind })} />
    <${Choice} label="Order" value=${`${order} ${descending}`} choices=${ORDERS} onChange=${(chosen) => {
      const [by, isDescending] = chosen.split(" ");
      onChange(filter, { order: by === "createdAt" ? null : by, descending: isDescending === "true" ? null : false });
    }} />
    <${More} filter=${filter} onChange=${onChange} />
    ${states.filter((state) => !STATES.includes(state)).map((state) => html`<button key=${state} type="button" class="chip bad" aria-pressed="true" onClick=${() => toggle(state)}>${state}</button>`)}
    ${chips.length > 0 && html`<ul class="chips">${chips.map(([name, value]) => html`<li key=${name}><span class="soft">${LABELS[name] || name}</span> ${value}
      <button type="button" class="quiet" aria-label=${`Clear ${LABELS[name] || name}`} onClick=${() => onChange({ ...filter, [name]: null })}>×</button></li>`)}</ul>`}
  </div>`;
}

function Search({ text, onSearch }) {
  const [typed, setTyped] = useState(text);
  useLayoutEffect(() => setTyped(text), [text]); // before anything can be typed
  function submit(event) {
    event.preventDefault();
    const [, id] = /^#(\d+)$/.exec(typed.trim()) || [];
    if (id) goTo(["jobs", id]);
    else {
      const found = readSearch(typed);
      setTyped(found.text); // the rest is shown beside it
      onSearch(found);
    }
  }
  return html`<form role="search" onSubmit=${submit}>
    <input type="search" data-search aria-label="Search jobs" placeholder="Words of the input, type:…, trace:…, target:…, #id" value=${typed}
      onInput=${(event) => setTyped(event.target.value)} />
  </form>`;
}

function More({ filter, onChange }) {
  const [isOpen, setOpen] = useState(false);
  const [edited, setEdited] = useState(filter);
  useEffect(() => setEdited(filter), [JSON.stringify(filter)]);
  function submit(event) {
    event.preventDefault();
    setOpen(false);
    onChange(edited);
  }
  const fields = MORE.filter(([name]) => name !== "kind");
  return html`<details class="more" open=${isOpen} onToggle=${(event) => setOpen(event.currentTarget.open)}><summary>More filters</summary>
    ${isOpen && html`<form onSubmit=${submit}>${fields.map(([name, label]) => html`<label key=${name}>${label}
      <input list=${name === "type" ? "types" : undefined} placeholder=${name === "since" || name === "until" ? "2026-11-30T12:00:00Z" : ""}
        value=${edited[name] || ""} onInput=${(event) => setEdited({ ...edited, [name]: event.target.value })} /></label>`)}
      <${Types} /><div class="buttons"><button class="primary">Filter</button></div></form>`}
  </details>`;
}

function Types() {
  const { data } = usePolled("/api/handlers", 0);
  return html`<datalist id="types">${(data || []).map(({ type }) => html`<option key=${type} value=${type} />`)}</datalist>`;
}
