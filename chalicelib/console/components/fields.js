// Facts as a list of names and values; those without a value are left out.
import { html } from "../lib.js";

export function Facts({ facts }) {
  const known = facts.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return html`<dl class="facts">${known.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

export function Choice({ label, value, choices, onChange }) {
  return html`<label class="choice"><span>${label}</span><select value=${value} onChange=${(event) => onChange(event.target.value)}>
    ${choices.map(([each, text]) => html`<option key=${each} value=${each}>${text}</option>`)}</select></label>`;
}
