// What people can do to jobs: in words, and done.
import { ask } from "./api.js";

// ``says``: what it will do to "this job" or "these jobs"
export const ACTS = {
  retry: { label: "Retry", done: "retried", says: (jobs) => `Runs ${jobs} again, with all attempts.` },
  replay: { label: "Replay", done: "replayed", says: (jobs) => `Publishes ${jobs} again as new; the dead letter stays, marked as replayed.` },
  promote: { label: "Run now", done: "promoted", says: (jobs) => `Runs ${jobs} as soon as a worker is free, whatever time was set.` },
  complete: { label: "Complete", done: "completed", says: (jobs) => `Ends ${jobs} as a success without running.`, isAsked: true },
  cancel: { label: "Cancel", done: "canceled", says: (jobs) => `Ends ${jobs}. A run that goes on is asked to stop; nothing of it counts.`, isAsked: true, isDangerous: true },
  rerun: { label: "Run a copy …", done: "copied", says: () => "Makes a new job with this input, which you can edit first." },
  delete: { label: "Delete", done: "deleted", says: (jobs) => `Removes ${jobs} with input, output and log for ever.`, isAsked: true, isDangerous: true },
};

export function actOn(id, act, more = {}) {
  return ask("POST", `/api/job/${encodeURIComponent(id)}/act`, { body: { act, ...more } });
}
