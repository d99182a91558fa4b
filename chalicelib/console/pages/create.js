// A task or a message by hand, in a form made from what its handler takes.
import { ask, session } from "../api.js";
import { useMay } from "../components/acting.js";
import { Choice } from "../components/fields.js";
import { JsonField, SchemaForm, initialOf } from "../components/forms.js";
import { Loaded, announce, detailText } from "../components/notes.js";
import { html, useState } from "../lib.js";
import { usePolled } from "../polling.js";
import { goTo, replaceQuery, useRoute } from "../router.js";
import { useStore } from "../stores.js";

const OTHER = "other";

export function Create() {
  const polled = usePolled("/api/handlers", 0);
  return html`<div class="title"><h1>Create</h1></div>
    <${Loaded} polled=${polled} what="The list of handlers">${(handlers) => html`<${Chooser} handlers=${handlers} />`}</${Loaded}>`;
}

function Chooser({ handlers }) {
  const { query } = useRoute();
  const may = useMay();
  const offered = onePerType(handlers.filter(({ kind }) => (kind === "message" ? may.publish : may.create)));
  const wanted = query.get("of") || (offered[0] ? nameOf(offered[0]) : OTHER);
  const handler = offered.find((each) => nameOf(each) === wanted) || null;
  const choices = [...offered.map((each) => [nameOf(each), `${each.type} (${each.kind})`]), ...(may.publish ? [[OTHER, "a message of another topic"]] : [])];
  if (!may.create && !may.publish) return html`<p>Your key lacks the scopes <code>task</code> and <code>message</code>, one of which is needed to create something.</p>`;
  return html`<${Choice} label="What" value=${handler ? wanted : OTHER} choices=${choices} onChange=${(of) => replaceQuery({ of })} />
    ${handler && html`<p class="soft">${handler.source}; ${handler.maxAttempts ? `at most ${handler.maxAttempts} attempts` : "attempts by default"}${handler.paused ? ". It is paused: what is made waits." : "."}</p>`}
    <${Form} key=${wanted} handler=${handler} />`;
}

function nameOf({ kind, type }) {
  return `${kind} ${type}`;
}

// Of several that take the same jobs, the first that says what it takes.
function onePerType(handlers) {
  const found = new Map();
  for (const each of handlers) if (!found.get(nameOf(each))?.schema) found.set(nameOf(each), each);
  return [...found.values()].sort((a, b) => Number(Boolean(b.schema)) - Number(Boolean(a.schema)));
}

function Form({ handler }) {
  const { who } = useStore(session);
  const kind = handler?.kind ?? "message";
  const hasForm = Boolean(handler?.schema?.properties || handler?.schema?.$ref);
  const [isRaw, setRaw] = useState(!hasForm);
  const [input, setInput] = useState(() => (hasForm ? initialOf(handler.schema) : {}));
  const [options, setOptions] = useState({ type: handler?.type ?? "", targetType: "console", targetId: "by hand", priority: "", traceId: "" });
  const [state, setState] = useState({ isBusy: false, error: null });
  const field = (name, label, more = {}) => html`<label>${label}<input ...${more} value=${options[name]} onInput=${(event) => setOptions({ ...options, [name]: event.target.value })} /></label>`;
  async function submit(event) {
    event.preventDefault();
    setState({ isBusy: true, error: null });
    try {
      const { id } = await send(kind, options, input, who.prefixes);
      announce(`Job ${id} is made`);
      goTo(["jobs", id]);
    } catch (error) {
      setState({ isBusy: false, error });
    }
  }
  return html`<form class="create" onSubmit=${submit}>
    <div class="options">${!handler && field("type", "Topic", { required: true })}
      ${kind === "task" && html`${field("targetType", "Target's type", { required: true })}${field("targetId", "Target", { required: true })}`}
      ${kind === "message" && field("traceId", "Trace", { placeholder: "a new one" })}
      ${field("priority", "Priority", { type: "number", step: 1, placeholder: "0" })}</div>
    <h2>${kind === "task" ? "Input" : "Payload"} ${hasForm && html`<button type="button" class="quiet" onClick=${() => setRaw(!isRaw)}>${isRaw ? "as a form" : "as JSON"}</button>`}</h2>
    ${isRaw ? html`<${JsonField} value=${input} onChange=${setInput} rows=${12} label="Input as JSON" />`
      : html`<${SchemaForm} schema=${handler.schema} value=${input} onChange=${setInput} />`}
    <${Refused} error=${state.error} />
    <div class="buttons"><button class="primary" disabled=${state.isBusy}>${kind === "task" ? "Create the task" : "Publish the message"}</button></div>
  </form>`;
}

function Refused({ error }) {
  if (!error) return null;
  return html`<div class="bad" role="alert"><p>${error.message}</p>
    ${error.details?.length > 0 && html`<ul>${error.details.map((each) => html`<li>${detailText(each)}</li>`)}</ul>`}</div>`;
}

function send(kind, { type, targetType, targetId, priority, traceId }, input, prefixes) {
  const shared = priority === "" ? {} : { priority: Number(priority) };
  if (kind === "task") {
    return ask("POST", `${prefixes.tasks}/create`, { body: { type, targetType, targetId, runnerType: "system", input, ...shared } });
  }
  return ask("POST", `${prefixes.messages}/message/publish`, { body: { topic: type, payload: input ?? {}, ...(traceId ? { traceId } : {}), ...shared } });
}
