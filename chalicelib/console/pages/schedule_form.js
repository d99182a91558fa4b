// A schedule by hand: when, with the next slots that this gives, and what it makes.
import { ask } from "../api.js";
import { useMay } from "../components/acting.js";
import { Choice } from "../components/fields.js";
import { Form } from "../components/form.js";
import { Loaded, announce } from "../components/notes.js";
import { Ago, Clock } from "../components/times.js";
import { InputFields, OTHER, choicesOf, nameOf, numberOf, onePerType, textFieldsOf, told, useInput } from "../components/work.js";
import { html, useEffect, useState } from "../lib.js";
import { usePolled } from "../polling.js";

const OVERLAPS = [["allow", "run beside it"], ["skip", "skip the slot"], ["queue", "wait for it"]];
const PREVIEWED = 5;
const PREVIEW_AFTER_MS = 300;
const HERE = Intl.DateTimeFormat().resolvedOptions().timeZone;
const ZONES = [...new Set([HERE, "UTC", ...(Intl.supportedValuesOf?.("timeZone") ?? [])])];

export function NewSchedule() {
  const { makeSchedules: may } = useMay();
  const polled = usePolled("/api/handlers", 0);
  return html`<div class="title"><h1>New schedule</h1></div>
    ${!may ? html`<p>Your key lacks the scope <code>schedule</code>, which is needed to create one.</p>` : html`<${Loaded} polled=${polled} what="The list of handlers">${(handlers) => html`<${Chooser} handlers=${onePerType(handlers)} />`}</${Loaded}>`}`;
}

function Chooser({ handlers }) {
  const [wanted, setWanted] = useState(handlers[0] ? nameOf(handlers[0]) : OTHER);
  const handler = handlers.find((each) => nameOf(each) === wanted) || null;
  return html`<${Choice} label="What it makes" value=${wanted} choices=${choicesOf(handlers, "a message of another topic")} onChange=${setWanted} />
    <${Making} handler=${handler} />`;
}

function Making({ handler }) {
  const kind = handler?.kind ?? "message";
  const [times, setTimes] = useState({ name: "", cron: "0 3 * * *", timezone: HERE });
  const [options, setOptions] = useState({ topic: "", priority: "", tenant: "", flowKey: "" });
  const [overlap, setOverlap] = useState("allow");
  const { of, input, setInput } = useInput(handler);
  const next = useSlots(times);
  const [time, option] = [textFieldsOf(times, setTimes), textFieldsOf(options, setOptions)];
  async function make() {
    await ask("POST", "/api/schedule/create", { body: { ...times, overlap, ...workOf(kind, { ...options, topic: handler?.type ?? options.topic }, input) } });
    announce(`The schedule ${times.name} is made`);
    return ["schedules", times.name];
  }
  return html`<${Form} class="create" send=${make} live=${next.error} confirm="Create the schedule">
    <div class="options">${time("name", "Name", { required: true })}${time("cron", "Cron", { required: true, spellcheck: false })}
      ${time("timezone", "Time zone", { required: true, list: "zones" })}<datalist id="zones">${ZONES.map((each) => html`<option key=${each} value=${each} />`)}</datalist>
      <${Choice} at="overlap" label="While the run before goes on" value=${overlap} choices=${OVERLAPS} onChange=${setOverlap} />
      ${!handler && option("topic", "Topic", { required: true })}
      ${option("priority", "Priority", { type: "number", step: 1, placeholder: "0" })}${option("tenant", "Tenant", { placeholder: "none" })}${option("flowKey", "Flow key", { placeholder: "as its handler finds it" })}</div>
    <${Slots} slots=${next.slots} />
    <${InputFields} key=${of} handler=${handler} kind=${kind} value=${input} onChange=${setInput} />
    <p class="soft below"><code>{{slot}}</code> in a text stands for the time of the slot.</p>
  </${Form}>`;
}

function workOf(kind, { topic, priority, tenant, flowKey }, input) {
  const shared = told({ priority: numberOf(priority), tenant, flowKey });
  return kind === "task" ? { task: { type: topic, runnerType: "system", input, ...shared } } : { message: { topic, payload: input ?? {}, ...shared } };
}

// The next slots of what is written, once it has not changed for a moment.
function useSlots(times) {
  const [seen, setSeen] = useState({ slots: [], error: null });
  const { name, cron, timezone } = times;
  useEffect(() => {
    const controller = new AbortController();
    const body = { ...told({ name }), cron, timezone, count: PREVIEWED };
    const look = () => ask("POST", "/api/schedule/preview", { body, signal: controller.signal }).then(
      ({ slots }) => setSeen({ slots, error: null }),
      (error) => controller.signal.aborted || setSeen({ slots: [], error }),
    );
    const timer = setTimeout(look, PREVIEW_AFTER_MS);
    return () => { clearTimeout(timer); controller.abort(); };
  }, [name, cron, timezone]);
  return seen;
}

function Slots({ slots }) {
  return html`<section aria-live="polite"><h2>Next runs</h2><ol class="plain">${slots.map((at) => html`<li key=${at}><${Clock} at=${at} /> <span class="soft"><${Ago} at=${at} /></span></li>`)}</ol></section>`;
}
