// Around every page: where one can go, how live it is, who is signed in.
import { session, signOut } from "../api.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "../lib.js";
import { KEYS, listenToKeys } from "../keyboard.js";
import { liveness, togglePause } from "../polling.js";
import { hrefOf, linkLeftBy, useRoute } from "../router.js";
import { useStore } from "../stores.js";
import { Dialog } from "./dialogs.js";
import { Announcement } from "./notes.js";
import { Since } from "./times.js";

const PAGES = [
  ["", "Overview"],
  ["jobs", "Jobs"],
  ["failures", "Failures"],
  ["queues", "Queues"],
  ["schedules", "Schedules"],
  ["bulk", "Bulk acts"],
  ["acts", "Acts log"],
  ["installation", "Installation"],
  ["create", "Create"],
];
const SCHEMES = { "light dark": "Auto", light: "Light", dark: "Dark" };
const SCHEME_KEPT_AS = "taskyard.scheme";

export function Shell({ children }) {
  const { path } = useRoute();
  const main = useRef(null);
  const here = path[0] === "graphs" ? "jobs" : path[0] || ""; // a graph is what its jobs lead to
  const [isHelpOpen, setHelpOpen] = useState(false);
  useLayoutEffect(() => listenToKeys({ "?": () => setHelpOpen(true), p: togglePause }), []);
  useFocusOnArrival(main, path);
  return html`
    <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); main.current.focus(); }}>To the content</a>
    <header>
      <a class="brand" href=${hrefOf([])}>Taskyard</a>
      <nav aria-label="Pages"><ul>
        ${PAGES.map(([name, title]) => html`<li key=${name}><a href=${hrefOf(name ? [name] : [])}
          aria-current=${here === name ? "page" : undefined}>${title}</a></li>`)}
      </ul></nav>
      <${Standing} onHelp=${() => setHelpOpen(true)} />
    </header>
    <main id="main" ref=${main} tabindex="-1"><${Trying} />${children}</main>
    <${Announcement} />
    ${isHelpOpen && html`<${Help} onClose=${() => setHelpOpen(false)} />`}`;
}

const RETURN_WITHIN_MS = 3_000;

// A new page is read from its heading on; its title is in the history. Who goes back is where they were.
function useFocusOnArrival(main, path) {
  const place = path.join("/");
  const isFirst = useRef(true);
  useEffect(() => {
    const title = main.current.querySelector("h1")?.textContent;
    document.title = title ? `${title} · Taskyard` : "Taskyard";
    if (!isFirst.current) {
      main.current.focus({ preventScroll: true });
      scrollTo(0, 0);
      if (linkLeftBy()) return focusOnceThere(main.current, linkLeftBy());
    }
    isFirst.current = false;
    return undefined;
  }, [place]);
}

// The link is there once the page's data are; who has gone on by then is left alone.
function focusOnceThere(main, href) {
  const look = () => {
    if (document.activeElement !== main) return observer.disconnect();
    const link = [...main.querySelectorAll("a[href]")].find((each) => each.getAttribute("href") === href);
    if (!link) return undefined;
    observer.disconnect();
    return link.focus();
  };
  const observer = new MutationObserver(look);
  observer.observe(main, { childList: true, subtree: true });
  const timer = setTimeout(() => observer.disconnect(), RETURN_WITHIN_MS);
  look();
  return () => { observer.disconnect(); clearTimeout(timer); };
}

function Standing({ onHelp }) {
  const { who } = useStore(session);
  const { isPaused } = useStore(liveness);
  return html`<div class="standing">
    <p><span class="stage">${who.stage}</span> <span class="soft">${who.version}</span></p>
    <p class="soft">${who.local ? "no key needed here" : who.name}${!who.may.act && ", read only"}</p>
    <p class="tools">
      <button type="button" class="quiet" aria-pressed=${isPaused} onClick=${togglePause} title="p">${isPaused ? "Paused" : "Live"}</button>
      <${Scheme} />
      <button type="button" class="quiet" onClick=${onHelp} aria-label="Keys" title="?">?</button>
      ${!who.local && html`<button type="button" class="quiet" onClick=${signOut}>Sign out</button>`}
    </p>
  </div>`;
}

function Scheme() {
  const [scheme, setScheme] = useState(localStorage.getItem(SCHEME_KEPT_AS) || "light dark");
  useEffect(() => {
    document.documentElement.style.colorScheme = scheme;
    localStorage.setItem(SCHEME_KEPT_AS, scheme);
    dispatchEvent(new Event("schemechange"));
  }, [scheme]);
  const names = Object.keys(SCHEMES);
  const next = names[(names.indexOf(scheme) + 1) % names.length];
  return html`<button type="button" class="quiet" onClick=${() => setScheme(next)} title="light or dark">${SCHEMES[scheme] || "Auto"}</button>`;
}

// That what is shown grows old, and when it is asked for again.
function Trying() {
  const { error, retryAt } = useStore(liveness);
  if (!error) return null;
  return html`<p class="trying" role="status">The API does not answer: ${error.message.replace(/\.?$/, ".")} What you see is as it was. Asked again
    <span aria-hidden="true"> <${Since} at=${new Date(retryAt).toISOString()} tell=${(ms) => (ms < 0 ? `in ${Math.ceil(-ms / 1_000)} s` : "now")} /></span>.</p>`;
}

function Help({ onClose }) {
  return html`<${Dialog} title="Keys" onClose=${onClose}>
    <dl class="keys">${KEYS.map(([key, what]) => html`<div><dt><kbd>${key}</kbd></dt><dd>${what}</dd></div>`)}</dl>
    <div class="buttons"><button type="button" onClick=${onClose}>Close</button></div>
  </${Dialog}>`;
}
