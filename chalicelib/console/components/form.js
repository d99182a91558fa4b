// A form of which the API may refuse something: it is said at the fields that it is about, and at the end what is about none.
import { html, useEffect, useRef, useState } from "../lib.js";
import { goTo } from "../router.js";
import { WithProblems } from "./fields.js";
import { announce } from "./notes.js";

const NOTHING = { problems: [], others: [] };
const WRAPPED = /^(task|message)\./; // what a schedule makes

// ``send`` may fail, or say where to go then: by a path. Who has left the form by then stays where they are. ``live``: what was refused of what is being written; null: nothing. ``buttons``: before the one that sends.
export function Form({ send, onSent, live, confirm, isDangerous, isReady = true, buttons, children, ...more }) {
  const form = useRef(null);
  const [isBusy, setBusy] = useState(false);
  const [refused, setRefused] = useState(NOTHING);
  useEffect(() => {
    const [first] = refused.problems;
    if (first && refused.isNew) form.current.elements.namedItem(first.at).focus();
  }, [refused]);
  async function submit(event) {
    event.preventDefault();
    setBusy(true);
    setRefused(NOTHING);
    try {
      const path = await send();
      const isHere = form.current !== null;
      onSent?.();
      if (path && isHere) goTo(path);
    } catch (error) {
      if (!form.current) return announce(error.message, true);
      setRefused({ ...placed(form.current, error), isNew: true });
      setBusy(false);
    }
    return undefined;
  }
  const edited = ({ target: { name } }) => refused !== NOTHING && setRefused({ problems: refused.problems.filter(({ at }) => !isIn(name, at)), others: [] });
  const written = live && form.current ? placed(form.current, live) : NOTHING;
  const known = new Set(refused.problems.map(({ at }) => at));
  const problems = [...refused.problems, ...written.problems.filter(({ at }) => !known.has(at)).map((each) => ({ ...each, isLive: true }))];
  const others = [...new Set([...refused.others, ...written.others])];
  return html`<form ...${more} ref=${form} onInput=${edited} onSubmit=${submit}><${WithProblems} value=${problems}>
    ${children}
    ${others.length > 0 && html`<div class="bad below" role="alert">${others.map((each) => html`<p key=${each}>${each}</p>`)}</div>`}
    <div class="buttons">${buttons}<button class=${isDangerous ? "danger" : "primary"} disabled=${isBusy || !isReady}>${confirm}</button></div>
  </${WithProblems}></form>`;
}

function isIn(name, at) {
  return name === at || name.startsWith(`${at}.`);
}

function placed(form, error) {
  const { message, remedy, details = [] } = error;
  const isOfOne = details.length === 1 && !message.includes(details[0].expected); // the message says more than its detail
  const said = details.map((detail) => {
    const { at, rest } = placeOf(form, detail.field);
    const text = [isOfOne && message, rest, `expected ${detail.expected}, got ${detail.got}`].filter(Boolean).join(": ");
    return { at, text: withEnd(text, remedy) };
  });
  return {
    problems: said.filter(({ at }) => at !== null),
    others: details.length === 0 ? [withEnd(message, remedy)] : said.filter(({ at }) => at === null).map(({ text }) => text),
  };
}

function withEnd(text, remedy) {
  return remedy ? `${text}; ${remedy}` : text;
}

// The field that is meant, or the one that it is inside of, as an item is inside of JSON; and what of the path is left.
function placeOf(form, path) {
  const steps = path.replace(WRAPPED, "").replace(/^payload\b/, "input").split(".");
  for (let known = steps.length; known > 0; known -= 1) {
    const at = steps.slice(0, known).join(".");
    if (form.elements.namedItem(at)) return { at, rest: steps.slice(known).join(".") };
  }
  return { at: null, rest: path };
}
