// What this installation is made of: settings, keys, webhooks, applications, topics, and what it costs.
import { session } from "../api.js";
import { Facts } from "../components/fields.js";
import { State } from "../components/marks.js";
import { Loaded } from "../components/notes.js";
import { Ago, Clock } from "../components/times.js";
import { NONE, asMoney, count, duration, shortCount } from "../format.js";
import { html, useState } from "../lib.js";
import { usePolled } from "../polling.js";
import { hrefOf } from "../router.js";
import { useStore } from "../stores.js";

const EVERY_MS = 60_000;
const DAYS = 30;

export function Installation() {
  const polled = usePolled(`/api/installation?days=${DAYS}`, EVERY_MS);
  const { who } = useStore(session);
  return html`<div class="title"><h1>Installation</h1></div>
    <${Facts} facts=${[["Stage", who.stage], ["Version", who.version], ["Deployed", who.deployedAt && html`<${Ago} at=${who.deployedAt} />`], ["Your key", who.name], ["Its scopes", who.scopes.join(", ")]]} />
    <${Loaded} polled=${polled} what="The installation">${(found) => html`
      <${Costs} costs=${found.costs} />
      <${Keys} keys=${found.keys} />
      <${Listed} title="Webhooks" entries=${found.webhooks} empty="No webhook is told of anything." />
      <${Listed} title="Applications" entries=${found.applications} empty="No application is registered." />
      <${Topics} topics=${found.topics} />
      <${Settings} settings=${found.settings} />`}</${Loaded}>`;
}

function Costs({ costs }) {
  const sumOf = (days, name) => days.reduce((sum, day) => sum + day[name], 0);
  return html`<section><h2>What jobs have cost in ${DAYS} days <span class="soft">${asMoney(costs.usd)}</span></h2>
    ${costs.byType.length > 0 && html`<div class="scrolls" role="region" aria-label="Cost by type" tabindex="0"><table>
      <thead><tr><th>Type</th><th class="number">Jobs</th><th class="number wide">Ran</th><th class="number wide">Sends</th><th class="number">Cost</th></tr></thead>
      <tbody>${costs.byType.map(({ kind, type, jobs, usd, days }) => html`<tr key=${`${kind} ${type}`} data-row><td><a href=${hrefOf(["jobs"], { kind, type })}>${type}</a></td><td class="number">${count(jobs)}</td>
        <td class="number wide">${duration(sumOf(days, "runMs"))}</td><td class="number wide">${count(sumOf(days, "sends"))}</td><td class="number">${asMoney(usd)}</td></tr>`)}</tbody></table></div>`}
    <div class="scrolls below" role="region" aria-label="Cost by service" tabindex="0"><table>
      <thead><tr><th>Service</th><th>Billed by</th><th class="number wide">Price</th><th class="number">Amount</th><th class="number">Cost</th></tr></thead>
      <tbody>${costs.byService.map(({ service, items }) => items.map((item, index) => html`<tr key=${`${service} ${item.unit}`}><td>${index === 0 && service}</td><td>${item.unit}</td>
        <td class="number wide soft">${priceOf(item)}</td><td class="number">${item.amount === null ? html`<span class="soft">not counted</span>` : shortCount(item.amount)}</td><td class="number">${asMoney(item.usd)}</td></tr>`))}</tbody></table></div>
    ${costs.idleMonth.length > 0 && html`<p>A month without a job costs ${asMoney(sumOf(costs.idleMonth, "usd"))}, as it was deployed last: ${costs.idleMonth.map(({ service, usd }) => `${service} ${asMoney(usd)}`).join(", ")}.</p>`}
    <p class="soft">Estimated at list prices of ${costs.pricesIn}, ${costs.pricesOf}; <code>taskyard cost</code> adds what does not belong to one job.</p>
  </section>`;
}

function priceOf({ usdAMillion }) {
  const text = (usd) => `$${Number(usd.toPrecision(4))}`;
  return usdAMillion < 1_000 ? `${text(usdAMillion)} a million` : `${text(usdAMillion / 1_000_000)} each`;
}

function Keys({ keys }) {
  return html`<section><h2>Access keys</h2>${keys.length === 0 ? html`<p class="soft">There is none: <code>taskyard keys create</code> makes one.</p>` : html`<div class="scrolls" role="region" aria-label="Access keys" tabindex="0"><table>
    <thead><tr><th>Label</th><th>Scopes</th><th class="wide">Made</th><th>Used</th><th>State</th></tr></thead>
    <tbody>${keys.map((key, index) => html`<tr key=${index} data-row><td>${key.label}${key.user !== null && html` <span class="tag">user</span>`}</td><td>${key.scopes.join(", ")}</td><td class="wide"><${Clock} at=${key.createdAt} /></td><td>${key.lastUsedAt ? html`<${Ago} at=${key.lastUsedAt} />` : NONE}</td>
      <td>${key.revokedAt ? html`<${State} state="canceled" text="revoked" />` : html`<${State} state="ok" text="in force" />`}</td></tr>`)}</tbody></table></div>`}</section>`;
}

// Entries of whatever fields they have.
function Listed({ title, entries, empty }) {
  if (!entries || entries.length === 0) return html`<section><h2>${title}</h2><p class="soft">${empty}</p></section>`;
  const names = Object.keys(entries[0]);
  return html`<section><h2>${title}</h2><div class="scrolls" role="region" aria-label=${title} tabindex="0"><table>
    <thead><tr>${names.map((name) => html`<th key=${name}>${spaced(name)}</th>`)}</tr></thead>
    <tbody>${entries.map((entry, index) => html`<tr key=${index} data-row>${names.map((name) => html`<td key=${name}>${shown(entry[name])}</td>`)}</tr>`)}</tbody></table></div></section>`;
}

function spaced(name) {
  const words = name.replace(/([A-Z])/g, " $1").toLowerCase();
  return words[0].toUpperCase() + words.slice(1);
}

function shown(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "string" && /^\d{4}-\d\d-\d\dT.*Z$/.test(value)) return html`<${Clock} at=${value} />`;
  return Array.isArray(value) ? value.join(", ") || "all" : String(value);
}

function Topics({ topics }) {
  return html`<section><h2>Topics</h2>${topics.length === 0 ? html`<p class="soft">No message has been published yet.</p>`
    : html`<p class="types">${topics.map((name, index) => html`${index > 0 ? ", " : ""}<a href=${hrefOf(["jobs"], { kind: "message", type: name })}>${name}</a>`)}</p>`}</section>`;
}

function Settings({ settings }) {
  const [isAll, setAll] = useState(false);
  const changed = settings.filter((each) => each.value !== each.default);
  const rows = isAll ? settings : changed;
  return html`<section><h2>Settings</h2>
    ${rows.length > 0 && html`<div class="scrolls" role="region" aria-label="Settings" tabindex="0"><table><thead><tr><th>Name</th><th>Value</th><th class="wide">Default</th></tr></thead>
      <tbody>${rows.map((each) => html`<tr key=${each.variable} data-row><td><code>${each.variable}</code></td><td>${String(each.value)}</td><td class="wide soft">${String(each.default)}</td></tr>`)}</tbody></table></div>`}
    ${rows.length === 0 && html`<p class="soft">All are as by default.</p>`}
    <p><button type="button" onClick=${() => setAll(!isAll)}>${isAll ? "Show what differs from the default" : `Show all ${settings.length}`}</button></p></section>`;
}
