// Who did what, and when.
import { JobLink } from "../components/jobs.js";
import { Empty, Loaded } from "../components/notes.js";
import { Clock } from "../components/times.js";
import { html, useState } from "../lib.js";
import { usePolled } from "../polling.js";
import { hrefOf, queryText } from "../router.js";

const EVERY_MS = 10_000;

export function ActsLog() {
  const [cursor, setCursor] = useState(null);
  const polled = usePolled(`/api/acts${queryText({ cursor })}`, EVERY_MS);
  return html`<div class="title"><h1>Acts log</h1></div>
    <${Loaded} polled=${polled} what="The log">${({ items, nextCursor }) => html`
      ${items.length === 0 && html`<${Empty} title="Nobody has acted yet.">What people do by this console or the API is kept here for 90 days.</${Empty}>`}
      ${items.length > 0 && html`<div class="scrolls" role="region" aria-label="Acts" tabindex="0"><table>
        <thead><tr><th>When</th><th>Who</th><th>Act</th><th>On</th><th class="wide">Detail</th></tr></thead>
        <tbody>${items.map((each, index) => html`<tr key=${index} data-row><td><${Clock} at=${each.at} /></td><td>${each.by}</td><td>${each.act}</td>
          <td>${onText(each.on)}</td><td class="wide soft">${detailOf(each.detail)}</td></tr>`)}</tbody></table></div>`}
      <nav class="pages" aria-label="Pages of the list">${cursor && html`<button type="button" onClick=${() => setCursor(null)}>Newest</button>`}
        ${nextCursor && html`<button type="button" onClick=${() => setCursor(nextCursor)}>Older</button>`}</nav>`}</${Loaded}>`;
}

function onText({ id, kind, type, topic, queue, schedule, graph, bulk, key }) {
  return [
    id && html`<${JobLink} id=${id} /> `,
    bulk && html`<a href=${hrefOf(["bulk", bulk])}>a bulk act</a> `,
    schedule && html`<a href=${hrefOf(["schedules", schedule])}>${schedule}</a> `,
    graph && html`<span class="soft">graph</span> <a href=${hrefOf(["graphs", graph])}>${graph}</a> `,
    type || topic,
    queue && html`<span class="soft">queue</span> ${queue}`,
    key && html` <span class="soft">key</span> ${key}`,
    !type && !topic && !id && kind && html`<span class="soft">${kind}</span>`,
  ];
}

function detailOf(detail) {
  if (detail === null || detail === undefined) return "";
  return typeof detail === "object" ? Object.entries(detail).map(([name, value]) => `${name} ${typeof value === "object" ? JSON.stringify(value) : value}`).join(", ") : String(detail);
}
