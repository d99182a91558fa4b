// What flow control is of: a task type or a topic, or one key of it; named, and chosen in a form.
import { html } from "../lib.js";
import { usePolled } from "../polling.js";
import { Choice, Field } from "./fields.js";

const KINDS = [["type", "Task type"], ["topic", "Topic"]];

export function nameOf({ type, topic, key }) {
  return [type || `topic ${topic}`, key && `key ${key}`].filter(Boolean).join(", ");
}

export function targetOf({ type, topic, key }) {
  return { ...(type ? { type } : { topic }), ...(key ? { key } : {}) };
}

export function fieldsOf({ type, topic, key }) {
  return { kind: topic ? "topic" : "type", name: type || topic || "", key: key || "" };
}

export function bodyOf({ kind, name, key }) {
  return targetOf({ [kind]: name, key });
}

export function TargetFields({ of, onChange, isFixed, keyNote }) {
  const { data: handlers } = usePolled(isFixed ? null : "/api/handlers", 0);
  const names = new Set((handlers || []).filter(({ kind }) => (kind === "message") === (of.kind === "topic")).map(({ type }) => type));
  const isUnknown = handlers && of.name && !names.has(of.name);
  const change = (name) => (event) => onChange({ ...of, [name]: event.target.value });
  return html`${!isFixed && html`<${Choice} label="Of a" value=${of.kind} choices=${KINDS} onChange=${(kind) => onChange({ ...of, kind })} />
      <div><${Field} at=${of.kind} label="Name" required list="bounded" value=${of.name} onInput=${change("name")} />
        <small class="warning" role="status">${isUnknown && "No handler of this name is deployed."}</small></div>
      <datalist id="bounded">${[...names].map((name) => html`<option key=${name} value=${name} />`)}</datalist>`}
    <${Field} at="key" label="Key" value=${of.key} placeholder=${keyNote} required=${!keyNote} disabled=${isFixed && Boolean(of.key)} onInput=${change("key")} />`;
}
