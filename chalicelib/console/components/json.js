// JSON that folds. Its parts are made when they are opened, so that a large value costs what is looked at.
import { asJson, count } from "../format.js";
import { html, useState } from "../lib.js";
import { announce } from "./notes.js";

const OPEN_DEPTH = 2;
const OPEN_ENTRIES = 30;
const SHOWN_ENTRIES = 200;
const SHOWN_CHARS = 2_000;

export function Json({ value, label }) {
  async function copy() {
    await navigator.clipboard.writeText(asJson(value));
    announce(`${label} copied`);
  }
  return html`<div class="json" role="group" aria-label=${label} tabindex="0">
    <${Value} value=${value} depth=${0} />
    <button type="button" class="quiet copy" onClick=${copy}>Copy</button>
  </div>`;
}

function Value({ value, name, depth }) {
  const label = name === undefined ? null : html`<span class="key">${name}</span>: `;
  if (value === null || typeof value !== "object") return html`<div>${label}<${Scalar} value=${value} /></div>`;
  return html`<${Folding} value=${value} label=${label} depth=${depth} />`;
}

function Folding({ value, label, depth }) {
  const entries = Object.entries(value);
  const [brackets, kind] = Array.isArray(value) ? ["[]", "item"] : ["{}", "field"];
  const [isOpen, setOpen] = useState(depth < OPEN_DEPTH && entries.length <= OPEN_ENTRIES);
  const [shown, setShown] = useState(SHOWN_ENTRIES);
  if (entries.length === 0) return html`<div>${label}${brackets}</div>`;
  return html`<details open=${isOpen} onToggle=${(event) => setOpen(event.currentTarget.open)}>
    <summary>${label}<span class="soft">${brackets[0]} ${count(entries.length)} ${kind}${entries.length > 1 ? "s" : ""} ${brackets[1]}</span></summary>
    ${isOpen && html`<div class="inner">
      ${entries.slice(0, shown).map(([key, each]) => html`<${Value} key=${key} name=${key} value=${each} depth=${depth + 1} />`)}
      ${entries.length > shown && html`<button type="button" class="quiet" onClick=${() => setShown(shown + SHOWN_ENTRIES)}>
        ${count(entries.length - shown)} more</button>`}
    </div>`}
  </details>`;
}

function Scalar({ value }) {
  const [isWhole, setWhole] = useState(false);
  if (typeof value !== "string") return html`<span class="literal">${String(value)}</span>`;
  const isLong = value.length > SHOWN_CHARS && !isWhole;
  return html`<span class="text">"${isLong ? value.slice(0, SHOWN_CHARS) : value}"</span>
    ${isLong && html`<button type="button" class="quiet" onClick=${() => setWhole(true)}>all ${count(value.length)} characters</button>`}`;
}
