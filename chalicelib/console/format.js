// Figures and times as text.
const GROUPED = new Intl.NumberFormat("en");
const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const SECOND = 1_000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR;

export const NONE = "–";

export function count(number) {
  return number === null || number === undefined ? NONE : GROUPED.format(number);
}

export function shortCount(number) {
  if (number === null || number === undefined) return NONE;
  return number < 10_000 ? GROUPED.format(Math.round(number * 10) / 10) : SHORT.format(number);
}

export function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

export function percent(ratio) {
  if (ratio === null || ratio === undefined) return NONE;
  const shown = ratio > 0.99 && ratio < 1 ? Math.floor(ratio * 1_000) / 10 : Math.round(ratio * 1_000) / 10;
  return `${shown} %`;
}

export function perSecond(rate) {
  if (rate === null || rate === undefined) return NONE;
  if (rate === 0) return "0/s";
  if (rate < 0.1 / 60) return `${(rate * 3_600).toFixed(1)}/h`;
  return rate < 0.1 ? `${(rate * 60).toFixed(1)}/min` : `${shortCount(Math.round(rate * 10) / 10)}/s`;
}

// 340 ms, 3.4 s, 4 min 12 s, 3 h 20 min, 2 d 4 h
export function duration(ms) {
  if (ms === null || ms === undefined) return NONE;
  if (ms < SECOND) return `${Math.round(ms)} ms`;
  if (ms < 10 * SECOND) return `${(ms / SECOND).toFixed(1)} s`;
  if (ms < MINUTE) return `${Math.round(ms / SECOND)} s`;
  if (ms < HOUR) return parts(ms, MINUTE, "min", SECOND, "s");
  if (ms < DAY) return parts(ms, HOUR, "h", MINUTE, "min");
  return parts(ms, DAY, "d", HOUR, "h");
}

function parts(ms, large, largeUnit, small, smallUnit) {
  const rest = Math.floor((ms % large) / small);
  return `${Math.floor(ms / large)} ${largeUnit}${rest ? ` ${rest} ${smallUnit}` : ""}`;
}

// "now", "3 s ago", "in 2 min": one unit, for times that are looked over rather than read
export function distance(ms) {
  const size = Math.abs(ms);
  if (size < SECOND) return "now";
  const [unit, name] = [[DAY, "d"], [HOUR, "h"], [MINUTE, "min"]].find(([each]) => size >= each) || [SECOND, "s"];
  const text = `${Math.floor(size / unit)} ${name}`;
  return ms > 0 ? `${text} ago` : `in ${text}`;
}

export function bytes(size) {
  if (size === null || size === undefined) return NONE;
  if (size < 1_024) return `${size} B`;
  return size < 1_048_576 ? `${(size / 1_024).toFixed(1)} KB` : `${(size / 1_048_576).toFixed(1)} MB`;
}

function two(number) {
  return String(number).padStart(2, "0");
}

export function localDay(date) {
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

export function localClock(date) {
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

export function localTime(date) {
  return `${localDay(date)} ${localClock(date)}`;
}

export function exactTime(date) {
  const millis = String(date.getMilliseconds()).padStart(3, "0");
  return `${localTime(date)}.${millis} here\n${date.toISOString().replace("T", " ").replace("Z", "")} UTC`;
}

export function asJson(value) {
  return JSON.stringify(value, null, 2);
}

// $12.30, and of less than a cent two digits that count: $0.00000063
export function asMoney(usd) {
  if (usd === null || usd === undefined) return NONE;
  return `$${usd.toFixed(usd < 0.01 && usd > 0 ? Math.min(100, 1 - Math.floor(Math.log10(usd))) : 2)}`;
}
