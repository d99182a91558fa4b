// A program that creates, watches, finds, changes and deletes jobs by kue's JSON API, written from its documentation.
// Prints what it was answered, one JSON text a step. Usage: node kue_client.mjs URL

const api = process.argv[2];
const DEADLINE_MS = 20_000;
const PAUSE_MS = 100;

async function call(method, path, body) {
  const headers = body === undefined ? {} : { "Content-Type": "application/json" };
  const answer = await fetch(api + path, { method, headers, body: JSON.stringify(body) });
  return answer.json();
}

function report(step, answer) {
  console.log(JSON.stringify({ step, answer }));
}

async function until(path, holds) {
  const deadline = Date.now() + DEADLINE_MS;
  for (;;) {
    const answer = await call("GET", path);
    if (holds(answer)) return answer;
    if (Date.now() > deadline) throw new Error(`${path} is still ${JSON.stringify(answer)}`);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

const slides = [{ width: 4, height: 3 }, { width: 16, height: 9 }];
const slideshow = { type: "slideshow pdf", data: { title: "tj's slideshow", slides } };
const welcome = { title: "welcome email for tj", to: "tj@learnboost.com", template: "welcome-email" };
const followup = { title: "followup email for tj", to: "tj@learnboost.com", template: "followup-email" };
const urgent = { attempts: 5, priority: "high", searchKeys: ["to", "title"] };

const created = await call("POST", "/job", slideshow);
report("created", created.message);
const complete = await until(`/job/${created.id}`, (job) => job.state === "complete");
const { type, data, priority, progress, progress_data, result, attempts } = complete;
report("complete", { type, data, priority, progress, progress_data, result, attempts });
report("times", [complete.created_at <= complete.updated_at, Number(complete.duration) >= 0]);
report("log", await call("GET", `/job/${created.id}/log`));

const emails = await call("POST", "/job", [
  { type: "email", data: welcome, options: urgent },
  { data: welcome },
  { type: "email", data: followup, options: { ...urgent, delay: 86_400_000 } },
]);
report("bulk", emails.map(({ message, error }) => message ?? error));
const [first, , second] = emails.map((email) => email.id);
const named = (ids) => ids.map((id) => ({ [first]: "welcome", [second]: "followup" })[id]);

report("found", named(await until("/job/search?q=welcome%20learnboost", (ids) => ids.length === 1)));
const waiting = await until("/jobs/email/inactive/0..9/asc", (jobs) => jobs.length === 1);
report("inactive", named(waiting.map((job) => job.id)));
report("delayed", await until("/jobs/email/delayed/stats", ({ count }) => count === 1));
report("stats", Object.keys(await call("GET", "/stats")));

report("priority", await call("PUT", `/job/${first}/priority/-15`));
report("state", await call("PUT", `/job/${second}/state/inactive`));
const both = await until("/jobs/email/inactive/0..9/asc", (jobs) => jobs.length === 2);
report("inactive", both.map((job) => [named([job.id])[0], job.priority, job.state, job.attempts]));

for (const id of [created.id, first, second]) {
  report("deleted", (await call("DELETE", `/job/${id}`)).message === `job ${id} removed`);
  report("gone", (await call("GET", `/job/${id}`)).error === `job "${id}" doesnt exist`);
}
