// A bulk act, from what it would do to its start.
import { ACTS } from "../acts.js";
import { ask } from "../api.js";
import { count, plural } from "../format.js";
import { html, useEffect, useState } from "../lib.js";
import { Confirm } from "./dialogs.js";
import { JobTable } from "./jobs.js";
import { announce } from "./notes.js";

// Looks first; nothing is done before it is confirmed. ``wanted``: {filter}, or {ids} of jobs that are named.
export function BulkDialog({ act, wanted, onClose }) {
  const [seen, setSeen] = useState({ run: null, error: null });
  useEffect(() => {
    ask("POST", "/api/bulk", { body: { act, ...wanted, dryRun: true } }).then(
      (run) => setSeen({ run, error: null }),
      (error) => setSeen({ run: null, error }),
    );
  }, []);
  async function start() {
    const { id } = await ask("POST", "/api/bulk", { body: { act, ...wanted, dryRun: false } });
    announce(`Bulk act ${id} has started`);
    return ["bulk", id];
  }
  const { label, isDangerous, says } = ACTS[act];
  const { run, error } = seen;
  return html`<${Confirm} title=${wanted.ids ? `${label} ${plural(wanted.ids.length, "job")}?` : `${label} what matches`} isDangerous=${isDangerous} onClose=${onClose}
    confirm=${run ? `${label} ${plural(run.matches, "job")}` : label} isReady=${Boolean(run?.matches)} onConfirm=${start}>
    ${error && html`<p class="bad" role="alert">${error.message}</p>`}
    ${!run && !error && html`<p class="soft" role="status">Looking what it would do …</p>`}
    ${run && html`<p role="status"><strong>${run.sentence}</strong></p>
      <p class="soft">${says("each of them")} It goes on when this page is closed, can be stopped, and its result can be downloaded.</p>
      <ul class="chips">${run.byType.map((each) => html`<li>${each.type} <span class="soft">${each.kind}</span> ${count(each.count)}</li>`)}</ul>
      ${run.sample.length > 0 && html`<details><summary>Show ${run.sample.length < run.matches ? `${run.sample.length} of them` : "them"}</summary>
        <${JobTable} rows=${run.sample} label="What matches" /></details>`}`}
  </${Confirm}>`;
}
