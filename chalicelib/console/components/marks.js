// States, each by a shape, a word and a colour.
import { html } from "../lib.js";

const SHAPES = {
  pending: "M8 2.5a5.5 5.5 0 1 1 0 11a5.5 5.5 0 1 1 0-11",
  running: "M8 2.5a5.5 5.5 0 1 1-5.5 5.5",
  waiting: "M8 2l6 6-6 6-6-6z",
  success: "M2.5 8.5l3.5 4 7.5-9",
  failed: "M3.5 3.5l9 9M12.5 3.5l-9 9",
  canceled: "M8 2.5a5.5 5.5 0 1 1 0 11a5.5 5.5 0 1 1 0-11M4.2 11.8l7.6-7.6",
  stopped: "M4 4h8v8H4z",
  late: "M8 2l6.5 11.5h-13zM8 6.5v3.5M8 11.7v.2",
  unknown: "M5.8 6a2.2 2.2 0 1 1 3.2 2c-.7.4-1 .8-1 1.6M8 12v.2",
};
const SHAPE_OF = {
  ok: "success", done: "success", missing: "failed", paused: "stopped",
  blocked: "pending", skipped: "canceled", removed: "canceled", stopping: "running", canceling: "running", compensating: "running", restarting: "running",
};

export const STATES = ["pending", "running", "waiting", "success", "failed", "canceled"];

export function shapeOf(state) {
  return SHAPE_OF[state] || (SHAPES[state] ? state : "unknown");
}

export function Mark({ state }) {
  const shape = shapeOf(state);
  return html`<svg class=${`mark ${shape}`} viewBox="0 0 16 16" width="12" height="12" aria-hidden="true">
    <path d=${SHAPES[shape]} /></svg>`;
}

export function State({ state, text = state }) {
  return html`<span class=${`state is-${shapeOf(state)}`}><${Mark} state=${state} />${text}</span>`;
}
