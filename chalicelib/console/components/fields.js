// Facts, and fields of forms: each with its label, and with why what stands in it was refused.
import { createContext, html, useContext } from "../lib.js";

const Problems = createContext([]);
export const WithProblems = Problems.Provider; // its value: a list of {at, text, isLive}; see form.js

// Those without a value are left out.
export function Facts({ facts }) {
  const known = facts.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return html`<dl class="facts">${known.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

// What marks the field that is sent as ``at``, and the note beside it that says why it was refused.
export function useProblem(at) {
  const problem = useContext(Problems).find((each) => each.at === at);
  if (!problem) return { marks: { name: at }, note: null };
  const id = `refused-${at.replaceAll(/\s/g, "_")}`;
  return {
    marks: { name: at, "aria-invalid": "true", "aria-describedby": id },
    note: html`<small id=${id} class="bad" role=${problem.isLive ? "alert" : undefined}>${problem.text}</small>`,
  };
}

export function Field({ at, label, ...more }) {
  const { marks, note } = useProblem(at);
  return html`<div><label>${label}<input ...${more} ...${marks} /></label>${note}</div>`;
}

export function Choice({ at, label, value, choices, onChange }) {
  const { marks, note } = useProblem(at);
  return html`<div class="choice"><label><span>${label}</span><select ...${marks} value=${value} onChange=${(event) => onChange(event.target.value)}>
    ${choices.map(([each, text]) => html`<option key=${each} value=${each}>${text}</option>`)}</select></label>${note}</div>`;
}
