// A task or a message by hand, in a form made from what its handler takes.
import { ask, serverNow, session } from "../api.js";
import { useMay } from "../components/acting.js";
import { Choice } from "../components/fields.js";
import { Form } from "../components/form.js";
import { Loaded, announce } from "../components/notes.js";
import { InputFields, OTHER, choicesOf, nameOf, numberOf, onePerType, textFieldsOf, told, useInput } from "../components/work.js";
import { plural } from "../format.js";
import { html, useState } from "../lib.js";
import { usePolled } from "../polling.js";
import { replaceQuery, useRoute } from "../router.js";
import { useStore } from "../stores.js";

const STARTS = [["now", "now"], ["delay", "after a delay"], ["at", "at a time"]];

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
  if (!may.create && !may.publish) return html`<p>Your key lacks the scopes <code>task</code> and <code>message</code>, one of which is needed to create something.</p>`;
  return html`<${Choice} label="What" value=${handler ? wanted : OTHER} choices=${choicesOf(offered, may.publish && "a message of another topic")} onChange=${(of) => replaceQuery({ of })} />
    ${handler && html`<p class="soft">${handler.source}; ${handler.maxAttempts ? `at most ${plural(handler.maxAttempts, "attempt")}` : "attempts by default"}${handler.paused ? ". It is paused: what is made waits." : "."}</p>`}
    <${Making} handler=${handler} />`;
}

function Making({ handler }) {
  const { who } = useStore(session);
  const kind = handler?.kind ?? "message";
  const { of, input, setInput } = useInput(handler);
  const [options, setOptions] = useState({
    type: "", targetType: "console", targetId: "by hand", priority: "", traceId: "", tenant: "", flowKey: "", attempts: "", delay: "", at: "",
  });
  const [start, setStart] = useState("now");
  const field = textFieldsOf(options, setOptions);
  const startAt = kind === "task" ? "delay" : "executeAt";
  async function make() {
    const { id } = await send(kind, { ...options, type: handler?.type ?? options.type, startMs: startOf(start, options) }, input, who.prefixes);
    announce(`Job ${id} is made`);
    return ["jobs", id];
  }
  return html`<${Form} class="create" send=${make} confirm=${kind === "task" ? "Create the task" : "Publish the message"}>
    <div class="options">${!handler && field("type", "Topic", { at: "topic", required: true })}
      ${kind === "task" && html`${field("targetType", "Target's type", { required: true })}${field("targetId", "Target", { required: true })}`}
      <${Choice} label="Start" value=${start} choices=${STARTS} onChange=${setStart} />
      ${start === "delay" && field("delay", "Delay in seconds", { at: startAt, type: "number", min: 0, step: "any", required: true })}
      ${start === "at" && field("at", "Start time, here", { at: startAt, type: "datetime-local", step: 1, required: true })}
      ${field("priority", "Priority", { type: "number", step: 1, placeholder: "0" })}
      ${field("attempts", "Attempts", { at: "maxRetries", type: "number", min: 1, max: 100, step: 1, placeholder: handler?.maxAttempts ?? "by default" })}
      ${field("traceId", "Trace", { placeholder: "a new one" })}
      ${field("tenant", "Tenant", { placeholder: "none" })}
      ${field("flowKey", "Flow key", { placeholder: "as its handler finds it" })}</div>
    <${InputFields} key=${of} handler=${handler} kind=${kind} value=${input} onChange=${setInput} />
  </${Form}>`;
}

// In ms since 1970; null: now
function startOf(start, { delay, at }) {
  if (start === "delay") return serverNow() + Number(delay) * 1_000;
  return start === "at" ? Date.parse(at) : null;
}

function send(kind, { type, targetType, targetId, priority, traceId, tenant, flowKey, attempts, startMs }, input, prefixes) {
  const shared = told({ priority: numberOf(priority), traceId, tenant, flowKey });
  if (kind === "task") {
    const delay = startMs === null ? "" : Math.max(0, (startMs - serverNow()) / 1_000);
    const body = { type, targetType, targetId, runnerType: "system", input, ...shared, ...told({ delay, maxRetries: attempts === "" ? "" : attempts - 1 }) };
    return ask("POST", `${prefixes.tasks}/create`, { body });
  }
  const executeAt = startMs === null ? "" : new Date(startMs).toISOString();
  const body = { topic: type, payload: input ?? {}, ...shared, ...told({ executeAt, maxRetries: numberOf(attempts) }) };
  return ask("POST", `${prefixes.messages}/message/publish`, { body });
}
