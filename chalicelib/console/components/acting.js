// Buttons that act, on jobs, queues and schedules: shown to those who may, and saying what they will do.
import { ACTS, actOn } from "../acts.js";
import { session } from "../api.js";
import { html, useState } from "../lib.js";
import { useStore } from "../stores.js";
import { Confirm } from "./dialogs.js";
import { announce } from "./notes.js";

export function useMay() {
  return useStore(session).who?.may ?? {};
}

// ``says``: what it will do, as its title; asked before where ``isAsked``, about ``subject``. ``act`` returns what is announced,
// ``onDone`` where to go then, if anywhere: from a dialog.
// ``onRefused``: what shows how things are now, as they have changed meanwhile.
export function ActButton({ label, says, act, isAsked, subject = "", isDangerous, isMain, onDone, onRefused = onDone }) {
  const [isOpen, setOpen] = useState(false);
  const [isBusy, setBusy] = useState(false);
  async function perform() {
    try {
      announce(await act());
    } catch (error) {
      if (error.status !== 404 && error.status !== 409) throw error;
      announce(error.message, true); // it says how things are now; the button may be gone with what it was for
      return onRefused?.();
    }
    return onDone?.();
  }
  async function clicked() {
    if (isAsked) return setOpen(true);
    setBusy(true);
    try {
      await perform();
    } catch (error) {
      announce(error.message, true);
    }
    return setBusy(false);
  }
  return html`<button type="button" class=${isMain ? "primary" : isDangerous ? "danger quiet" : ""} title=${says} disabled=${isBusy} onClick=${clicked}>${label}</button>
    ${isOpen && html`<${Confirm} title=${`${label} ${subject}?`} confirm=${`${label} it`} isDangerous=${isDangerous} onConfirm=${perform} onClose=${() => setOpen(false)}>
      <p>${says}</p></${Confirm}>`}`;
}

export function JobActs({ row, acts, onDone, onRefused, onRerun }) {
  const { act: may } = useMay();
  if (!may || acts.length === 0) return null;
  return html`<div class="acts" role="group" aria-label="Acts">${acts.filter((name) => ACTS[name]).map((name) => {
    const { label, done, says, isAsked, isDangerous } = ACTS[name];
    if (name === "rerun") return html`<button key=${name} type="button" title=${says()} onClick=${onRerun}>${label}</button>`;
    const perform = async () => {
      const { made } = await actOn(row.id, name);
      return `Job ${row.id} is ${done}${made ? `, as job ${made}` : ""}`;
    };
    return html`<${ActButton} key=${name} label=${label} says=${says("this job")} act=${perform} isAsked=${isAsked} subject=${`job ${row.id}, ${row.type}`} isDangerous=${isDangerous}
      isMain=${name === acts[0] && !isDangerous} onDone=${() => onDone(name)} onRefused=${onRefused} />`;
  })}</div>`;
}
