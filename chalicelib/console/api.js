// The API, which stands beside the page: requests, and who sends them.
import { storeOf } from "./stores.js";

const KEPT_AS = "taskyard.key"; // in the session's storage: it is gone with the tab

export const apiBase = location.pathname.replace(/\/console\/?$/, "");

// who: null until it is known; isOut: the API wants a key, or another one
export const session = storeOf({ who: null, isOut: false, refusal: null });

let accessKey = sessionStorage.getItem(KEPT_AS) || "";
let ahead_ms = 0; // of the server's clock before this one's

// What the API refused, in its own words.
export class Refusal extends Error {
  constructor(status, told) {
    super(told.message || `The API answered ${status}.`);
    this.status = status;
    this.details = Array.isArray(told.details) ? told.details : [];
    this.remedy = told.remedy;
  }
}

export function serverNow() {
  return Date.now() + ahead_ms;
}

export function setServerTime(iso) {
  const at = Date.parse(iso);
  if (!Number.isNaN(at)) ahead_ms = at - Date.now();
}

export async function ask(method, path, { body, signal } = {}) {
  const headers = body === undefined ? {} : { "Content-Type": "application/json" };
  if (accessKey) headers.Authorization = authorizationOf(accessKey);
  const sentKey = accessKey;
  const content = body === undefined ? undefined : JSON.stringify(body);
  const answer = await fetch(apiBase + path, { method, headers, body: content, signal, credentials: "omit" });
  const text = await answer.text();
  if (answer.ok) return text ? JSON.parse(text) : null;
  if (answer.status === 401 && sentKey === accessKey) session.set({ who: null, isOut: true, refusal: accessKey ? "key" : null });
  throw new Refusal(answer.status, problemIn(text));
}

// Of a key, or of a user as "name:password"
function authorizationOf(entered) {
  if (!entered.includes(":")) return `Bearer ${entered}`;
  return `Basic ${btoa(String.fromCharCode(...new TextEncoder().encode(entered)))}`;
}

function problemIn(text) {
  try {
    return JSON.parse(text) || {};
  } catch {
    return {}; // what stands before the API has answered in its place
  }
}

export async function signIn(key) {
  accessKey = key;
  const who = await ask("GET", "/api/me");
  sessionStorage.setItem(KEPT_AS, key);
  enter(who);
}

export async function resume() {
  enter(await ask("GET", "/api/me"));
}

export function signOut() {
  accessKey = "";
  sessionStorage.removeItem(KEPT_AS);
  session.set({ who: null, isOut: true, refusal: null });
}

function enter(who) {
  setServerTime(who.now);
  session.set({ who, isOut: false, refusal: null });
}
