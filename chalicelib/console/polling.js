// Asking again and again for what a page shows: one request at a time, none while the page is hidden, fewer when they fail.
import { Refusal, ask } from "./api.js";
import { useEffect, useRef, useState } from "./lib.js";
import { storeOf } from "./stores.js";

const LONGEST_PAUSE_MS = 60_000;

// How it stands with the newest question: shown in the page's head.
export const liveness = storeOf({ isPaused: false, error: null, retryAt: null });

export function togglePause() {
  liveness.set({ ...liveness.value, isPaused: !liveness.value.isPaused });
}

// What the API answers to ``path``, asked every ``everyMs`` (0: once); {data, error, isOld, refresh}.
// Data of another path is shown as old until the new comes, unless ``keep`` is false. What was there before an outage stays;
// what is refused (it was deleted, the filter is wrong) is gone.
export function usePolled(path, everyMs, keep = true) {
  const [state, setState] = useState({ path: null, data: null, error: null });
  const asking = useRef(() => {});
  useEffect(() => {
    if (path === null) return undefined;
    const polling = new Polling(path, everyMs, setState);
    asking.current = () => polling.now();
    polling.now();
    return () => polling.stop();
  }, [path, everyMs]);
  const isOld = state.path !== path;
  return {
    data: isOld && !keep ? null : state.data,
    error: isOld ? null : state.error,
    isOld,
    refresh: () => asking.current(),
  };
}

let ahead = null; // {path, answer}: asked before the page that shows it is there

// Ask for what the first page will show, while it is not yet known who asks.
export function askAhead(path) {
  ahead = { path, answer: ask("GET", path) };
  ahead.answer.catch(() => {}); // whoever takes it asks again
}

function askedAhead(path) {
  const found = ahead?.path === path ? ahead.answer : null;
  ahead = null;
  return found;
}

class Polling {
  constructor(path, everyMs, setState) {
    Object.assign(this, { path, everyMs, setState, failures: 0, timer: 0, controller: null, isOver: false });
    this.woken = () => (this.rests() ? clearTimeout(this.timer) : this.now());
    document.addEventListener("visibilitychange", this.woken);
    this.unsubscribe = liveness.subscribe(({ isPaused }) => {
      if (isPaused !== this.wasPaused) this.woken();
      this.wasPaused = isPaused;
    });
    this.wasPaused = liveness.value.isPaused;
  }

  rests() {
    return document.hidden || liveness.value.isPaused;
  }

  async now() {
    clearTimeout(this.timer);
    this.controller?.abort();
    const controller = (this.controller = new AbortController());
    try {
      const again = () => ask("GET", this.path, { signal: controller.signal });
      const data = await (askedAhead(this.path)?.catch(again) ?? again()); // ahead there may have been no key yet
      if (!controller.signal.aborted) this.succeeded(data);
    } catch (error) {
      if (!controller.signal.aborted) this.failed(error);
    }
  }

  succeeded(data) {
    this.failures = 0;
    this.setState({ path: this.path, data, error: null });
    if (liveness.value.error) liveness.set({ ...liveness.value, error: null, retryAt: null });
    this.again(this.everyMs);
  }

  failed(error) {
    this.failures += 1;
    const isFinal = error instanceof Refusal && error.status < 500 && error.status !== 429;
    this.setState((before) => ({ path: this.path, data: isFinal || before.path !== this.path ? null : before.data, error }));
    const pause = Math.min(LONGEST_PAUSE_MS, 2_000 * 2 ** (this.failures - 1));
    if (!isFinal) liveness.set({ ...liveness.value, error, retryAt: Date.now() + pause });
    this.again(isFinal ? 0 : pause);
  }

  again(afterMs) {
    if (afterMs && !this.isOver && !this.rests()) this.timer = setTimeout(() => this.now(), afterMs);
  }

  stop() {
    this.isOver = true;
    clearTimeout(this.timer);
    this.controller?.abort();
    this.unsubscribe();
    document.removeEventListener("visibilitychange", this.woken);
  }
}
