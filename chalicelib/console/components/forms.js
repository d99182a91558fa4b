// A form made from a JSON schema: what it knows gets fields, the rest is written as JSON.
import { asJson } from "../format.js";
import { html, useState } from "../lib.js";
import { useProblem } from "./fields.js";

const DEPTH_MAX = 6; // of schemas in each other, which may also go round

function resolved(schema, root) {
  if (!schema?.$ref) return schema || {};
  const found = schema.$ref.replace(/^#\//, "").split("/").reduce((at, key) => at?.[key], root) || {};
  return { ...resolved(found, root), ...schema, $ref: undefined };
}

// "X or null" is an X that may be left out.
function withoutNull(schema, root) {
  const choices = schema.anyOf || schema.oneOf;
  if (!choices) return schema;
  const others = choices.filter((each) => each.type !== "null");
  return others.length === 1 ? { ...resolved(others[0], root), ...schema, anyOf: undefined, oneOf: undefined } : schema;
}

function kindOf(schema, depth) {
  if (schema.enum || "const" in schema) return "enum";
  if (["string", "integer", "number", "boolean"].includes(schema.type)) return schema.type;
  if (depth < DEPTH_MAX && schema.type === "object" && schema.properties) return "object";
  if (depth < DEPTH_MAX && schema.type === "array" && schema.items) return "array";
  return "json";
}

// What a form starts with; undefined: left out.
export function initialOf(schema, root = schema, depth = 0) {
  const known = withoutNull(resolved(schema, root), root);
  if (known.default !== undefined && known.default !== null) return known.default;
  if (known.examples?.length) return known.examples[0];
  switch (kindOf(known, depth)) {
    case "enum": return known.enum ? known.enum[0] : known.const;
    case "object": {
      const required = (known.required || []).map((name) => [name, initialOf(known.properties[name], root, depth + 1)]);
      return Object.fromEntries(required.filter(([, value]) => value !== undefined));
    }
    case "array": return [];
    case "boolean": return false;
    case "string": return "";
    default: return undefined;
  }
}

export function SchemaForm({ schema, value, onChange }) {
  return html`<div class="fields"><${Inside} schema=${withoutNull(resolved(schema, schema), schema)} root=${schema}
    value=${value} onChange=${onChange} depth=${0} path="input" /></div>`;
}

function Inside({ schema, root, value, onChange, depth, path }) {
  const known = value && typeof value === "object" ? value : {};
  return Object.entries(schema.properties || {}).map(([name, field]) => html`<${Field} key=${name} name=${name} schema=${field}
    root=${root} depth=${depth + 1} path=${`${path}.${name}`} value=${known[name]}
    isRequired=${(schema.required || []).includes(name)} onChange=${(next) => onChange(withField(known, name, next))} />`);
}

function withField(value, name, next) {
  const { [name]: _, ...others } = value;
  return next === undefined ? others : { ...value, [name]: next };
}

function Field({ name, schema: given, root, value, onChange, depth, path, isRequired }) {
  const schema = withoutNull(resolved(given, root), root);
  const kind = kindOf(schema, depth);
  const head = html`<span class="name">${name}${isRequired && html`<span class="needed"> required</span>`}</span>`;
  const byDefault = schema.default ?? null;
  const note = html`${schema.description && html`<small class="soft">${schema.description}</small>`}
    ${byDefault !== null && typeof byDefault === "object" && html`<small class="soft">by default ${JSON.stringify(byDefault)}</small>`}`;
  const inner = { schema, root, value, onChange, depth, path };
  const { marks, note: problem } = useProblem(kind === "json" ? undefined : path);
  if (kind === "object" || kind === "array") {
    return html`<fieldset ...${marks} tabindex="-1"><legend>${head}</legend>${note}${problem}<${kind === "object" ? Inside : Items} ...${inner} /></fieldset>`;
  }
  if (kind === "boolean") {
    return html`<div><label class="check"><input ...${marks} type="checkbox" checked=${(value ?? byDefault) === true}
      onChange=${(event) => onChange(event.target.checked)} />${head}${note}</label>${problem}</div>`;
  }
  return html`<div><label>${head}<${Input} kind=${kind} schema=${schema} value=${value} onChange=${onChange} isRequired=${isRequired} at=${path} marks=${marks} />${note}</label>${problem}</div>`;
}

function Items({ schema, root, value, onChange, depth, path }) {
  const items = Array.isArray(value) ? value : [];
  const change = (index, next) => onChange(items.map((each, at) => (at === index ? next : each)));
  return html`${items.map((each, index) => html`<div class="item" key=${index}>
      <${Field} name=${String(index + 1)} schema=${schema.items} root=${root} depth=${depth + 1} path=${`${path}.${index}`}
        value=${each} isRequired=${true} onChange=${(next) => change(index, next ?? null)} />
      <button type="button" class="quiet" onClick=${() => onChange(items.filter((_, at) => at !== index))}>Remove</button>
    </div>`)}
    <button type="button" onClick=${() => onChange([...items, initialOf(schema.items, root, depth + 1) ?? null])}>Add</button>`;
}

function Input({ kind, schema, value, onChange, isRequired, at, marks }) {
  if (kind === "enum") {
    const choices = schema.enum || [schema.const];
    return html`<select ...${marks} value=${JSON.stringify(value)} onChange=${(event) => onChange(event.target.value === "" ? undefined : JSON.parse(event.target.value))}>
      ${!isRequired && html`<option value="">${schema.default === undefined || schema.default === null ? "–" : `by default ${schema.default}`}</option>`}
      ${choices.map((each) => html`<option value=${JSON.stringify(each)}>${String(each)}</option>`)}</select>`;
  }
  if (kind === "json") return html`<${JsonField} at=${at} value=${value} onChange=${onChange} />`;
  const isNumber = kind === "integer" || kind === "number";
  const read = (text) => (text === "" && !(isRequired && !isNumber) ? undefined : isNumber ? Number(text) : text);
  return html`<input ...${marks} type=${isNumber ? "number" : "text"} step=${kind === "integer" ? 1 : "any"} min=${schema.minimum}
    max=${schema.maximum} minlength=${schema.minLength} maxlength=${schema.maxLength} required=${isRequired && schema.minLength !== 0 && isNumber}
    placeholder=${schema.default ?? ""} value=${value ?? ""} onInput=${(event) => onChange(read(event.target.value))} />`;
}

// JSON as text; tells the value, or undefined and what is wrong.
export function JsonField({ at, value, onChange, rows = 4, label }) {
  const { marks, note } = useProblem(at);
  const [text, setText] = useState(value === undefined ? "" : asJson(value));
  const [problem, setProblem] = useState("");
  function changed(event) {
    setText(event.target.value);
    try {
      onChange(event.target.value.trim() === "" ? undefined : JSON.parse(event.target.value));
      setProblem("");
      event.target.setCustomValidity("");
    } catch (error) {
      setProblem(error.message);
      event.target.setCustomValidity(`This is no JSON: ${error.message}`);
    }
  }
  return html`<textarea ...${marks} rows=${rows} spellcheck=${false} aria-label=${label} value=${text} onInput=${changed}></textarea>${note}
    ${problem && html`<small class="bad">This is no JSON: ${problem}</small>`}`;
}
