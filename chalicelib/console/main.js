// The console: who is here, and which page is wanted.
import { resume, session, signOut } from "./api.js";
import { Empty, Loading, Trouble } from "./components/notes.js";
import { Graph } from "./components/graph.js";
import { Shell } from "./components/shell.js";
import { html, render, useEffect, useState } from "./lib.js";
import { ActsLog } from "./pages/acts.js";
import { BulkAct, BulkActs } from "./pages/bulk.js";
import { Create } from "./pages/create.js";
import { Failures } from "./pages/failures.js";
import { Installation } from "./pages/installation.js";
import { Job } from "./pages/job.js";
import { Jobs } from "./pages/jobs.js";
import { Overview, overviewPath } from "./pages/overview.js";
import { Queues } from "./pages/queues.js";
import { NewSchedule } from "./pages/schedule_form.js";
import { Schedule, Schedules } from "./pages/schedules.js";
import { SignIn } from "./pages/signin.js";
import { askAhead } from "./polling.js";
import { here, hrefOf, useRoute } from "./router.js";
import { useStore } from "./stores.js";

const RETRY_MS = 5_000;

function Page() {
  const { path: [page = "", id] } = useRoute();
  switch (page) {
    case "": return html`<${Overview} />`;
    case "jobs": return id ? html`<${Job} key=${id} id=${id} />` : html`<${Jobs} />`;
    case "graphs": return html`<${Graph} key=${id} id=${id ?? ""} />`;
    case "failures": return html`<${Failures} />`;
    case "queues": return html`<${Queues} />`;
    case "schedules": return id ? html`<${Schedule} key=${id} name=${id} />` : html`<${Schedules} />`;
    case "bulk": return id ? html`<${BulkAct} key=${id} id=${id} />` : html`<${BulkActs} />`;
    case "acts": return html`<${ActsLog} />`;
    case "installation": return html`<${Installation} />`;
    case "create": return id === "schedule" ? html`<${NewSchedule} />` : html`<${Create} />`;
    default: return html`<h1>No such page</h1><${Empty} title="This address leads nowhere."><a href=${hrefOf([])}>To the overview</a></${Empty}>`;
  }
}

function Console() {
  const { who, isOut } = useStore(session);
  const [trouble, setTrouble] = useState(null);
  const refused = (error) => {
    if (error.status === 403) signOut(); // the key lacks what it needs to look: another one is to be entered
    else if (error.status !== 401) setTrouble(error);
  };
  const enter = () => resume().then(() => setTrouble(null), refused);
  useEffect(() => {
    if (who || isOut) return undefined;
    enter();
    const timer = setInterval(enter, RETRY_MS);
    return () => clearInterval(timer);
  }, [who, isOut]);
  if (isOut) return html`<${SignIn} />`;
  if (who) return html`<${Shell}><${Page} /></${Shell}>`;
  return html`<main class="signin">${trouble ? html`<h1>Taskyard</h1><${Trouble} error=${trouble} retry=${enter} what="The console" />` : html`<${Loading} />`}</main>`;
}

if (here().path.length === 0 && !session.value.isOut) askAhead(overviewPath(here().query)); // beside the question who asks
const place = document.getElementById("console");
place.replaceChildren(); // that it was loading
render(html`<${Console} />`, place);
