// Lines over time, drawn by uPlot, which is loaded once a chart is wanted.
import { count, localClock, localDay } from "../format.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "../lib.js";

const HEIGHT = 140;
const DAY_S = 86_400;
const DARK = matchMedia("(prefers-color-scheme: dark)");
const NARROW_AXIS = 44;

let library = null;

function loadLibrary() {
  library ??= import("uplot").then((module) => module.default);
  return library;
}

// ``at``: ms; ``lines``: [{label, values, colour: a CSS variable, dash?, isFilled?}]
export function Chart({ label, at, lines }) {
  const place = useRef(null);
  const chart = useRef(null);
  const [scheme, setScheme] = useState(0);
  const data = [at.map((ms) => ms / 1_000), ...lines.map(({ values }) => values)];
  useEffect(() => {
    const changed = () => setScheme((times) => times + 1);
    DARK.addEventListener("change", changed);
    addEventListener("schemechange", changed);
    return () => {
      DARK.removeEventListener("change", changed);
      removeEventListener("schemechange", changed);
    };
  }, []);
  // Over as soon as it is taken away: another effect would be, by preact, only after the next frame, when its place is gone.
  useLayoutEffect(() => {
    let isOver = false;
    const resized = new ResizeObserver(([{ contentRect }]) =>
      chart.current?.setSize({ width: Math.floor(contentRect.width), height: HEIGHT }));
    loadLibrary().then((Plot) => {
      if (isOver) return;
      const width = Math.floor(place.current.clientWidth);
      chart.current = new Plot(optionsOf(place.current, lines, width), data, place.current);
      resized.observe(place.current);
    });
    return () => {
      isOver = true;
      resized.disconnect();
      chart.current?.destroy();
      chart.current = null;
    };
  }, [scheme, lines.map((line) => line.label).join()]);
  useEffect(() => chart.current?.setData(data), [at, lines]);
  return html`<figure class="chart">
    <figcaption>${label}</figcaption>
    <div ref=${place} class="plot" role="img" aria-label=${spoken(label, lines)}></div>
  </figure>`;
}

function spoken(label, lines) {
  const totals = lines.map((line) => {
    const known = line.values.filter((value) => value !== null);
    return `${line.label}: ${count(known.at(-1) ?? 0)} now, at most ${count(known.length ? Math.max(...known) : 0)}`;
  });
  return `${label}. ${totals.join("; ")}.`;
}

function optionsOf(element, lines, width) {
  const colour = (name) => colourOf(element, name);
  const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
  return {
    width,
    height: HEIGHT,
    padding: [8, 16, 0, 0],
    cursor: { y: false, points: { size: 6 } },
    legend: { live: true },
    scales: { y: { range: (_, low, high) => [0, Math.max(1, high * 1.08)] } },
    axes: [
      { ...axis, size: 26, space: 70, values: (_, ticks) => labelsOf(ticks) },
      { ...axis, size: NARROW_AXIS, space: 34, values: (_, ticks) => ticks.map((tick) => (tick % 1 ? "" : short(tick))) },
    ],
    series: [
      { value: (_, at) => (at === null ? "" : momentText(at)) },
      ...lines.map(({ label, colour: name, dash, isFilled }) => ({
        label,
        stroke: colour(name),
        width: 1.5,
        dash,
        fill: isFilled ? colour(name).replace("rgb(", "rgba(").replace(")", ", 0.14)") : undefined,
        points: { show: false },
        value: (plot, value, line, at) => count(at === null ? plot.data[line].at(-1) : value),
      })),
    ],
  };
}

// As a canvas takes it: a variable's text may hold functions that only style sheets know.
function colourOf(element, name) {
  const probe = element.appendChild(document.createElement("i"));
  probe.style.color = `var(${name})`;
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

function short(number) {
  return number >= 1_000_000 ? `${number / 1_000_000}M` : number >= 1_000 ? `${number / 1_000}k` : String(number);
}

function labelsOf(ticks) {
  const isDays = ticks.length > 1 && ticks[1] - ticks[0] >= DAY_S;
  return ticks.map((tick) => {
    const date = new Date(tick * 1_000);
    return isDays ? localDay(date).slice(5) : localClock(date).slice(0, 5);
  });
}

function momentText(at_s) {
  const date = new Date(at_s * 1_000);
  return `${localDay(date).slice(5)} ${localClock(date).slice(0, 5)}`;
}
