// What is to be made, by hand or by the clock: a task or a message, its input in a form made from what its handler takes.
import { html, useState } from "../lib.js";
import { Field } from "./fields.js";
import { JsonField, SchemaForm, initialOf } from "./forms.js";

export const OTHER = "other";

export function nameOf({ kind, type }) {
  return `${kind} ${type}`;
}

// Of several that take the same jobs, the first that says what it takes; those with a form first.
export function onePerType(handlers) {
  const found = new Map();
  for (const each of handlers) if (!found.get(nameOf(each))?.schema) found.set(nameOf(each), each);
  return [...found.values()].sort((a, b) => Number(Boolean(b.schema)) - Number(Boolean(a.schema)));
}

// What a key may create, as choices; ``other``: what stands for a message of a topic that nobody subscribes to.
export function choicesOf(offered, other) {
  return [...offered.map((each) => [nameOf(each), `${each.type} (${each.kind})`]), ...(other ? [[OTHER, other]] : [])];
}

function hasFormOf(handler) {
  return Boolean(handler?.schema?.properties || handler?.schema?.$ref);
}

// What is to be made of a choice of handlers, and its input: of each as it was left, at first as its form begins.
export function useInput(handler) {
  const [inputs, setInputs] = useState({});
  const of = handler ? nameOf(handler) : OTHER;
  const first = hasFormOf(handler) ? initialOf(handler.schema) : {};
  return { of, input: of in inputs ? inputs[of] : first, setInput: (input) => setInputs({ ...inputs, [of]: input }) };
}

export function InputFields({ handler, kind, value, onChange }) {
  const hasForm = hasFormOf(handler);
  const [isRaw, setRaw] = useState(!hasForm);
  return html`<h2>${kind === "task" ? "Input" : "Payload"} ${hasForm && html`<button type="button" class="quiet" onClick=${() => setRaw(!isRaw)}>${isRaw ? "as a form" : "as JSON"}</button>`}</h2>
    ${isRaw ? html`<${JsonField} at="input" value=${value} onChange=${onChange} rows=${12} label="Input as JSON" />`
      : html`<${SchemaForm} schema=${handler.schema} value=${value} onChange=${onChange} />`}`;
}

// Fields of one object of texts: returns what makes a field of a name, which is sent as ``at``, by default the name.
export function textFieldsOf(values, setValues) {
  return (name, label, more = {}) => html`<${Field} key=${name} at=${name} label=${label} ...${more} value=${values[name]} onInput=${(event) => setValues({ ...values, [name]: event.target.value })} />`;
}

// What is empty is left out.
export function told(fields) {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== "" && value !== undefined));
}

export function numberOf(text) {
  return text === "" ? "" : Number(text);
}
