// What failed, alike with alike: how often, since when, and what to do with all of a kind.
import { useMay } from "../components/acting.js";
import { BulkDialog } from "../components/bulk.js";
import { Choice } from "../components/fields.js";
import { JobLink } from "../components/jobs.js";
import { Empty, Loaded } from "../components/notes.js";
import { Ago } from "../components/times.js";
import { session } from "../api.js";
import { count, plural } from "../format.js";
import { html, useState } from "../lib.js";
import { usePolled } from "../polling.js";
import { hrefOf, queryText, replaceQuery, useRoute } from "../router.js";
import { useStore } from "../stores.js";

const EVERY_MS = 5_000;
const KINDS = [["", "Tasks and messages"], ["task", "Tasks"], ["message", "Dead letters"]];

export function Failures() {
  const { query } = useRoute();
  const { who } = useStore(session);
  const kind = query.get("kind") || "";
  const isSinceDeploy = query.get("since") === "deploy";
  const since = isSinceDeploy ? who.deployedAt : query.get("since");
  const polled = usePolled(`/api/failures${queryText({ kind, type: query.get("type"), since })}`, EVERY_MS);
  const [asked, setAsked] = useState(null);
  const spans = [["", "Ever"], ...(who.deployedAt ? [["deploy", "Since the last deploy"]] : [])];
  return html`
    <div class="title"><h1>Failures</h1>
      <${Choice} label="Kind" value=${kind} choices=${KINDS} onChange=${(next) => replaceQuery({ kind: next, since: query.get("since") })} />
      ${spans.length > 1 && html`<${Choice} label="When" value=${isSinceDeploy ? "deploy" : ""} choices=${spans} onChange=${(next) => replaceQuery({ kind, since: next })} />`}
    </div>
    <${Loaded} polled=${polled} what="The list of failures">${({ groups, leftOut }) => html`<${Groups} groups=${groups} leftOut=${leftOut} onAct=${setAsked} />`}</${Loaded}>
    ${asked && html`<${BulkDialog} act=${asked.act} wanted=${{ filter: filterOf(asked.group) }} onClose=${() => setAsked(null)} />`}`;
}

function Groups({ groups, leftOut, onAct }) {
  const [isAll, setAll] = useState(false);
  const left = groups.filter(({ count: amount }) => amount > 0);
  const gone = groups.length - left.length;
  return html`
      ${left.length === 0 && html`<${Empty} title="Nothing is failed.">What fails for good is listed here, alike with alike, until it is retried or replayed.</${Empty}>`}
      <ul class="groups">${(isAll ? groups : left).map((group) => html`<${Group} key=${`${group.kind} ${group.type} ${group.fingerprint}`} group=${group} onAct=${(act) => onAct({ act, group })} />`)}</ul>
      ${gone > 0 && html`<p class="below"><button type="button" onClick=${() => setAll(!isAll)}>${isAll ? "Hide" : "Show"} ${plural(gone, "kind")} of which none is left</button></p>`}
      ${leftOut > 0 && html`<p class="soft">${plural(leftOut, "more kind")} of failure: narrow it down to see ${leftOut === 1 ? "it" : "them"}.</p>`}`;
}

function filterOf({ kind, type, fingerprint }) {
  return { kind, type, fingerprint, state: ["failed"] };
}

function Group({ group, onAct }) {
  const { act: may } = useMay();
  const act = group.kind === "message" ? "replay" : "retry";
  const jobs = hrefOf(["jobs"], filterOf(group));
  return html`<li data-row>
    <div class="amount"><a href=${jobs} aria-label=${`${plural(group.count, "job")} of ${group.type}`}><strong>${count(group.count)}</strong></a>
      <span class="soft">${group.total > group.count ? `of ${count(group.total)} ever` : "now"}</span></div>
    <div class="failure"><p class="error">${group.error}</p>
      <p><span class="type">${group.type}</span> ${group.kind === "message" && html`<span class="tag">dead letters</span> `}<span class="soft">${group.cause?.replaceAll("_", " ")}</span>
        ${group.sinceDeploy && html` <span class="tag warn">new since the deploy</span>`}</p>
      <p class="soft">last <${Ago} at=${group.lastSeenAt} />, first <${Ago} at=${group.firstSeenAt} />${group.sample && html`; such as <${JobLink} id=${group.sample.id} />`}</p></div>
    ${may && group.count > 0 && html`<div class="acts"><button type="button" onClick=${() => onAct(act)}>${act === "replay" ? "Replay all" : "Retry all"}</button>
      <button type="button" class="danger quiet" onClick=${() => onAct("delete")}>Delete all</button></div>`}
  </li>`;
}
