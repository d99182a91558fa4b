"""The style and the script of ``GET /docs``; see ``docs.py``."""

STYLE = r"""
:root {
  color-scheme: light dark;
  --paper: #ffffff; --panel: #f5f6f8; --ink: #1c2430; --soft: #5b6676; --line: #dde1e7; --accent: #0b62c4;
  --get: #0b62c4; --post: #1a7f3c; --put: #9a5b00; --delete: #b3261e; --code: #eef1f5;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #12161c; --panel: #1a2028; --ink: #e3e8ef; --soft: #98a4b3; --line: #2c3542; --accent: #6cb0ff;
    --get: #6cb0ff; --post: #5cc98a; --put: #e6b052; --delete: #ff8a80; --code: #0c1015;
  }
}
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.55 system-ui, sans-serif; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
code, pre, textarea, .path, .method { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: 0.92em; }
pre { background: var(--code); border-radius: 6px; padding: 10px 12px; margin: 6px 0; }
pre { overflow: auto; max-height: 28em; }
.page { display: grid; grid-template-columns: 290px minmax(0, 1fr); min-height: 100vh; }
nav { position: sticky; top: 0; align-self: start; height: 100vh; overflow: auto; padding: 20px; }
nav, article { background: var(--panel); }
nav { border-right: 1px solid var(--line); }
nav h2 { font-size: 0.82em; margin: 18px 0 4px; color: var(--soft); text-transform: uppercase; letter-spacing: 0.05em; }
nav a { display: flex; gap: 8px; padding: 2px 0; color: var(--ink); overflow-wrap: anywhere; }
main { padding: 28px 34px 80px; max-width: 1000px; }
h1 { margin: 0 0 4px; font-size: 1.5em; }
section > h2 { margin: 38px 0 2px; font-size: 1.2em; }
h3 { font-size: 0.95em; margin: 18px 0 4px; }
article { border: 1px solid var(--line); border-radius: 8px; margin: 12px 0; }
summary { cursor: pointer; padding: 10px 14px; display: flex; flex-wrap: wrap; gap: 4px 12px; align-items: baseline; }
.inside { padding: 0 14px 16px; border-top: 1px solid var(--line); }
.method { font-weight: 700; min-width: 3.9em; }
.get { color: var(--get); } .post { color: var(--post); } .put { color: var(--put); } .delete { color: var(--delete); }
.soft { color: var(--soft); }
.scope { margin-left: auto; border: 1px solid var(--line); border-radius: 9px; padding: 0 9px; font-size: 0.82em; }
.fields { list-style: none; margin: 4px 0; padding: 0 0 0 14px; border-left: 2px solid var(--line); }
.fields > li { margin: 5px 0; }
.needed::after { content: " required"; color: var(--delete); font-size: 0.8em; }
label { display: grid; grid-template-columns: 220px minmax(0, 1fr); gap: 10px; align-items: center; margin: 4px 0; }
input, textarea, button { font: inherit; color: inherit; border: 1px solid var(--line); border-radius: 6px; }
input, textarea { background: var(--paper); padding: 5px 9px; width: 100%; }
textarea { min-height: 9em; font-family: ui-monospace, Menlo, Consolas, monospace; font-size: 0.92em; }
button { background: var(--accent); color: var(--paper); border-color: transparent; padding: 5px 15px; }
button { cursor: pointer; }
button.quiet { background: transparent; color: var(--accent); border-color: var(--line); padding: 1px 9px; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
@media (max-width: 860px) {
  .page { grid-template-columns: minmax(0, 1fr); }
  nav { position: static; height: auto; border-right: 0; border-bottom: 1px solid var(--line); }
  main { padding: 20px 16px 60px; }
  label { grid-template-columns: minmax(0, 1fr); gap: 2px; }
}
"""

SCRIPT = r"""
"use strict";
const base = location.pathname.replace(/\/docs\/?$/, "");
const main = document.querySelector("main");
const nav = document.querySelector("nav");
let components = {};
let accessKey = "";

// -- building the page: elements and text, never markup -----------------------------------------------------------
function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

function prose(text) {  // `code` between back quotes
  return (text || "").split("`").map((part, index) => (index % 2 ? el("code", {}, part) : part));
}

function json(value) {
  return JSON.stringify(value, null, 2);
}

// -- schemas ------------------------------------------------------------------------------------------------------
function nameOf(schema) {
  return schema.$ref ? schema.$ref.split("/").pop() : "";
}

function followed(schema) {
  return schema.$ref ? { ...components.schemas[nameOf(schema)], ...schema, $ref: undefined } : schema;
}

function choicesOf(schema) {
  return schema.anyOf || schema.oneOf || schema.allOf;
}

function typeOf(schema) {
  if (schema.$ref && !followed(schema).enum) return nameOf(schema);
  if (schema.$ref) return typeOf(components.schemas[nameOf(schema)]);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if ("const" in schema) return JSON.stringify(schema.const);
  if (choicesOf(schema)) return choicesOf(schema).map(typeOf).join(" | ");
  if (schema.type === "array") return "list of " + typeOf(schema.items || {});
  return [schema.type || "any JSON", schema.format && "(" + schema.format + ")"].filter(Boolean).join(" ");
}

const BOUNDS = {
  minimum: "at least #", maximum: "at most #", exclusiveMinimum: "above #", exclusiveMaximum: "below #",
  minLength: "at least # characters", maxLength: "at most # characters", pattern: "matching #",
  minItems: "at least # items", maxItems: "at most # items", default: "default #",
};

function boundsOf(declared) {  // "integer or null" has its bounds on the integer
  const schema = Object.assign({}, ...(choicesOf(declared) || []), declared);
  const known = Object.keys(BOUNDS).filter((bound) => schema[bound] !== undefined && schema[bound] !== null);
  return known.map((bound) => BOUNDS[bound].replace("#", () => JSON.stringify(schema[bound]))).join(", ");
}

function groupsIn(schema) {  // the objects inside a schema whose fields are worth showing
  const choices = choicesOf(schema) || (schema.type === "array" ? [schema.items || {}] : []);
  return followed(schema).properties ? [schema] : choices.flatMap(groupsIn);
}

function fieldsOf(schema, seen) {
  const isNew = (group, index, all) => !nameOf(group)
    || (!seen.includes(nameOf(group)) && all.findIndex((other) => nameOf(other) === nameOf(group)) === index);
  return groupsIn(schema).filter(isNew).map((group) => {
    const { properties, required = [] } = followed(group);
    const rows = Object.entries(properties).map(([name, field]) =>
      el("li", {},
        fieldLine(name, field, required.includes(name)),
        fieldsOf(field, [...seen, nameOf(group)])));
    return el("ul", { class: "fields" }, rows);
  });
}

function fieldLine(name, schema, needed) {
  return [
    el("code", { class: needed ? "needed" : "" }, name), " ",
    el("span", { class: "soft" }, typeOf(schema), " ", boundsOf(schema)), " ",
    prose(schema.description || ""),
  ];
}

// -- trying an operation: one set of fields makes both the request and its curl line ----------------------------------
function quoted(text) {
  return "'" + String(text).replaceAll("'", "'\\''") + "'";
}

function requestOf(operation, values) {
  const query = new URLSearchParams();
  const headers = {};
  let path = operation.path;
  for (const parameter of operation.parameters) {
    const value = values.get(parameter);
    if (parameter.in === "path") path = path.replace("{" + parameter.name + "}", encodeURIComponent(value));
    else if (value === "") continue;
    else if (parameter.in === "header") headers[parameter.name] = value;
    else addToQuery(query, parameter, value);
  }
  if (operation.requestBody) headers["Content-Type"] = "application/json";
  const search = String(query) && "?" + query;
  return { url: location.origin + base + path + search, headers, body: values.get("body") };
}

function addToQuery(query, parameter, value) {
  if (parameter.schema.type === "array") value.split(",").forEach((item) => query.append(parameter.name, item.trim()));
  else if (parameter.style === "deepObject") {
    value.split(",").map((pair) => pair.split("=")).forEach(([name, inner]) =>
      query.append(parameter.name + "[" + name.trim() + "]", inner || ""));
  } else query.append(parameter.name, value);
}

function curlOf(operation, request) {
  const lines = ["curl -X " + operation.method.toUpperCase() + " " + quoted(request.url)];
  if (operation["x-scope"]) lines.push('-H "Authorization: Bearer $TASKYARD_KEY"');
  for (const [name, value] of Object.entries(request.headers)) lines.push("-H " + quoted(name + ": " + value));
  if (request.body !== undefined) lines.push("--data-raw " + quoted(request.body));
  return lines.join(" \\\n  ");
}

async function send(operation, request, output) {
  output.textContent = "...";
  const headers = { ...request.headers };
  if (accessKey && operation["x-scope"]) headers.Authorization = "Bearer " + accessKey;
  const started = performance.now();
  try {
    const options = { method: operation.method.toUpperCase(), headers, body: request.body, credentials: "omit" };
    const response = await fetch(request.url, options);
    const text = await response.text();
    const head = response.status + " in " + Math.round(performance.now() - started) + " ms";
    output.textContent = head + "\n\n" + pretty(text);
  } catch (error) {
    output.textContent = "not sent: " + error.message;
  }
}

function pretty(text) {
  try { return json(JSON.parse(text)); } catch { return text; }
}

function hintOf({ schema, style }) {
  const example = (schema.examples || [schema.default])[0];
  if (example !== undefined && example !== null) return String(example);
  if (style === "deepObject") return "name=value, ...";
  return schema.type === "array" ? "one, two, ..." : typeOf(schema);
}

function trial(operation) {
  const values = new Map(operation.parameters.map((parameter) => [parameter, ""]));
  const media = operation.requestBody && operation.requestBody.content["application/json"];
  if (media) values.set("body", json(media.example));
  const curl = el("pre");
  const output = el("pre", { "aria-live": "polite", hidden: true });
  const refresh = () => { curl.textContent = curlOf(operation, requestOf(operation, values)); };
  const keep = (key) => (event) => { values.set(key, event.target.value); refresh(); };
  const rows = operation.parameters.map((parameter) =>
    el("label", {}, el("span", {}, el("code", {}, parameter.name), el("span", { class: "soft" }, " " + parameter.in)),
      el("input", { input: keep(parameter), placeholder: hintOf(parameter), required: parameter.required })));
  const written = { input: keep("body"), "aria-label": "body", spellcheck: "false" };
  const body = media && el("textarea", written, values.get("body"));
  const submitted = (event) => {
    event.preventDefault();
    output.hidden = false;
    send(operation, requestOf(operation, values), output);
  };
  refresh();
  const copied = () => navigator.clipboard.writeText(curl.textContent);
  return [
    el("h3", {}, "Command line ", el("button", { type: "button", class: "quiet", click: copied }, "copy")), curl,
    el("h3", {}, "Try it"), el("form", { submit: submitted }, rows, body, el("p", {}, el("button", {}, "Send"))),
    output,
  ];
}

// -- operations ---------------------------------------------------------------------------------------------------
function parametersOf(operation) {
  if (operation.parameters.length === 0) return [];
  return [el("h3", {}, "Parameters"), el("ul", { class: "fields" }, operation.parameters.map((parameter) =>
    el("li", {},
      fieldLine(parameter.name, { ...parameter.schema, description: parameter.description }, parameter.required),
      el("span", { class: "soft" }, " in the " + parameter.in))))];
}

function mediaOf(content) {
  return Object.entries(content || {}).flatMap(([type, { schema, example }]) => [
    el("div", { class: "soft" }, type + ": " + typeOf(schema)), fieldsOf(schema, []),
    example === undefined ? null : el("pre", {}, json(example)),
  ]);
}

function bodyOf({ requestBody }) {
  if (!requestBody) return [];
  return [el("h3", {}, "Body" + (requestBody.required ? "" : " (optional)")), mediaOf(requestBody.content)];
}

function answersOf(operation) {
  const [good, bad] = [(status) => status < "4", (status) => status >= "4"].map((wanted) =>
    Object.entries(operation.responses).filter(([status]) => wanted(status)));
  return [
    good.flatMap(([status, { description, content }]) =>
      [el("h3", {}, "Answer " + status + ": ", prose(description)), mediaOf(content)]),
    bad.length ? el("h3", {}, "Errors") : null,
    el("ul", { class: "fields" }, bad.map(([status, { description }]) =>
      el("li", {}, el("code", {}, status), " ", prose(description)))),
  ];
}

function cardOf(operation) {
  const { method, path, summary, description, operationId } = operation;
  const inside = el("div", { class: "inside" });
  const fill = (event) => {
    if (!event.target.open || inside.hasChildNodes()) return;
    inside.append(...[
      description && el("p", {}, prose(description)),
      parametersOf(operation), bodyOf(operation), answersOf(operation), operation.sent ? null : trial(operation),
    ].flat(Infinity).filter(Boolean));
  };
  return el("article", { id: operationId }, el("details", { toggle: fill }, el("summary", {},
    el("span", { class: "method " + method }, method.toUpperCase()), el("span", { class: "path" }, path),
    el("span", { class: "soft" }, prose(summary)),
    el("span", { class: "scope soft" }, accessTo(operation))), inside));
}

function accessTo(operation) {
  if (operation.sent) return "sent to you";
  if (!operation["x-scope"]) return "public";
  return "scope " + operation["x-scope"] + (operation["x-signed"] ? " or a signature" : "");
}

function linkOf({ method, path, operationId }) {
  const open = () => { document.getElementById(operationId).querySelector("details").open = true; };
  return el("a", { href: "#" + operationId, click: open },
    el("span", { class: "method " + method }, method.toUpperCase()), el("span", {}, path));
}

function filtered(event) {
  const wanted = event.target.value.toLowerCase();
  for (const node of document.querySelectorAll("nav a, article")) {
    node.hidden = !node.textContent.toLowerCase().includes(wanted);
  }
}

function show(api) {
  components = api.components;
  const operationsOf = (paths, more) => Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ ...operation, ...more, path, method })));
  const operations = [...operationsOf(api.paths, {}), ...operationsOf(api.webhooks, { sent: true })];
  const remember = (event) => { accessKey = event.target.value.trim(); };
  nav.append(el("input", { type: "search", placeholder: "Filter", "aria-label": "Filter", input: filtered }));
  main.replaceChildren(
    el("h1", {}, api.info.title, " ", el("span", { class: "soft" }, api.info.version)),
    el("p", {}, prose(api.info.description), " ", el("a", { href: base + "/openapi.json" }, "openapi.json")),
    el("label", {}, "Access key, for Try it", el("input", {
      type: "password", autocomplete: "off", placeholder: "kept in this page only", input: remember })));
  for (const tag of api.tags) {
    const own = operations.filter((operation) => operation.tags.includes(tag.name));
    nav.append(el("h2", {}, tag.name), ...own.map(linkOf));
    main.append(el("section", {}, el("h2", {}, tag.name), el("p", { class: "soft" }, prose(tag.description)),
      own.map(cardOf)));
  }
  const target = document.getElementById(location.hash.slice(1));
  if (target) { target.querySelector("details").open = true; target.scrollIntoView(); }
}

fetch(base + "/openapi.json", { credentials: "omit" })
  .then((response) => response.json())
  .then(show)
  .catch((error) => { main.textContent = "openapi.json could not be read: " + error.message; });
"""
