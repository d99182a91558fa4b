// A form that sets what controls the flow of a task type, a topic or a key, and says what it will do.
import { ask } from "../api.js";
import { plural } from "../format.js";
import { html, useState } from "../lib.js";
import { Confirm } from "./dialogs.js";
import { Choice } from "./fields.js";
import { TargetFields, bodyOf, fieldsOf, nameOf } from "./flow_target.js";
import { announce } from "./notes.js";
import { numberOf, textFieldsOf, told } from "./work.js";

const LOOKED_AT = ["key", "rate", "order", "unique", "debounce"]; // where one is declared, publishers look for what is set
const AS_DECLARED = ["", "as declared"], OFF = ["off", "off"];
const ORDERS = [AS_DECLARED, ["block", "block"], ["step aside", "step aside"], OFF];
const UNIQUES = [AS_DECLARED, ["end", "until it ends"], ["start", "until it starts"], ["time", "for a time"], OFF];
const DEBOUNCES = [AS_DECLARED, ["on", "the newest runs"], OFF];

export function FlowDialog({ target, flow, onClose, onDone }) {
  const [texts, setTexts] = useState(textsOf(target));
  const [of, setOf] = useState(fieldsOf(target));
  const [seen, setSeen] = useState(setOn(flow, target)); // what this takes the place of
  const isFixed = Boolean(target.type || target.topic);
  const whole = flow.declared.some((each) => nameOf({ ...each, key: null }) === nameOf(bodyOf(of)) && LOOKED_AT.some((name) => each[name]));
  const controls = controlsOf(whole ? texts : { ...texts, order: "", unique: "", debounce: "" });
  const effects = effectsOf(controls);
  function aim(next) {
    setOf(next);
    const found = setOn(flow, bodyOf(next));
    setSeen(found);
    if (found) setTexts(textsOf(found)); // what was set already is changed, not forgotten
  }
  async function save() {
    const { warning } = await ask("PUT", "/api/flow", { body: { ...bodyOf(of), ...controls, ifVersion: seen?.version ?? "none" } }).catch(meanwhile);
    announce(warning ? `Set, but ${warning}` : `${nameOf(bodyOf(of))} is controlled so: workers notice within 5 s`, Boolean(warning));
    onDone();
  }
  // Says what another has changed; what is written here stays, and takes the place of that when it is sent again.
  async function meanwhile(error) {
    if (error.status !== 409) throw error;
    const now = setOn(await ask("GET", "/api/flow"), bodyOf(of));
    setSeen(now);
    throw new Error(`${changeText(seen, now)} What you have written here is kept: set it in the place of that, or go back.`);
  }
  const field = textFieldsOf(texts, setTexts);
  const number = (name, label, more) => field(name, label, { type: "number", min: 0.001, step: "any", ...more });
  const choice = (name, label, choices) => html`<${Choice} at=${name} label=${label} value=${texts[name]} choices=${choices} onChange=${(value) => setTexts({ ...texts, [name]: value })} />`;
  return html`<${Confirm} title=${isFixed ? `Flow control of ${nameOf(target)}` : "Set a limit"} confirm="Set it" onConfirm=${save} onClose=${onClose}
    isReady=${Boolean(of.name) && effects.length > 0}>
    <p>Takes the place of what is declared and of what was set. What is left empty is as declared.</p>
    <div class="options below"><${TargetFields} of=${of} onChange=${aim} isFixed=${isFixed} keyNote="all of them together" />
      ${number("concurrency", "At once", { min: 1, max: 1000, step: 1 })}
      ${number("count", "Rate: jobs", { at: "rate", min: 1, step: 1 })}${number("perSeconds", "per seconds", { at: "rate.perSeconds" })}${number("burst", "Burst", { at: "rate.burst", min: 1, step: 1 })}
      ${whole && html`${choice("order", "Order", ORDERS)}${choice("unique", "Unique", UNIQUES)}
        ${uniqueOf(texts) && html`${number("forS", texts.unique === "time" ? "Unique: seconds" : "and for seconds", { at: "unique.forS", required: texts.unique === "time" })}${field("uniqueBy", "Alike by path", { at: "unique.by", placeholder: "their key, or their input" })}`}
        ${choice("debounce", "Debounce", DEBOUNCES)}
        ${texts.debounce === "on" && html`${number("waitS", "Wait: seconds", { at: "debounce.waitS", required: true })}${number("latestS", "At the latest: seconds", { at: "debounce.latestS" })}${field("debounceBy", "Those alike by path", { at: "debounce.by", placeholder: "their key, or the type" })}`}`}</div>
    ${!whole && html`<p class="soft">Order, unique and debounce are of a whole type or topic whose handlers declare some control.</p>`}
    <div role="status">${effects.map((each) => html`<p key=${each}>${each}</p>`)}</div>
  </${Confirm}>`;
}

function setOn(flow, target) {
  return flow.set.find((each) => nameOf(each) === nameOf(target)) ?? null;
}

function changeText(before, now) {
  if (!now) return "Somebody has unset this meanwhile: it is controlled as declared.";
  const [was, is] = [before, now].map((each) => (each ? effectsOf(controlsOf(textsOf(each))) : []));
  const [news, gone] = [is.filter((each) => !was.includes(each)), was.filter((each) => !is.includes(each))];
  return `${now.by || "Somebody"} has changed this meanwhile. Now: ${(news.length > 0 ? news : is).join(" ")}${gone.length > 0 ? ` Before: ${gone.join(" ")}` : ""}`;
}

function textsOf({ concurrency, rate, order, unique, debounce, from }) {
  const [one, newest] = [unique, debounce].map((each) => (each === "off" || from === "declared" ? {} : each ?? {}));
  const chosen = (control, name) => (from === "declared" ? "" : control === "off" ? "off" : name);
  return {
    concurrency: concurrency ?? "", count: rate?.count ?? "", perSeconds: rate?.perSeconds ?? 1, burst: rate?.burst ?? 1,
    order: from === "declared" ? "" : order ?? "",
    unique: chosen(unique, unique ? one.until ?? "time" : ""), forS: one.forS ?? "", uniqueBy: one.by ?? "",
    debounce: chosen(debounce, debounce ? "on" : ""), waitS: newest.waitS ?? "", latestS: newest.latestS ?? "", debounceBy: newest.by ?? "",
  };
}

function uniqueOf({ unique }) {
  return unique !== "" && unique !== "off";
}

// As the API takes them; what is as declared is left out.
function controlsOf(texts) {
  const { concurrency, count, perSeconds, burst, order, unique, forS, uniqueBy, debounce, waitS, latestS, debounceBy } = texts;
  return told({
    concurrency: numberOf(concurrency),
    rate: count === "" ? "" : { count: Number(count), perSeconds: Number(perSeconds), burst: Number(burst) },
    order,
    unique: uniqueOf(texts) ? { until: unique === "time" ? null : unique, ...told({ forS: numberOf(forS), by: uniqueBy }) } : unique,
    debounce: debounce === "on" ? told({ waitS: numberOf(waitS), latestS: numberOf(latestS), by: debounceBy }) : debounce,
  });
}

const IN_ORDER = {
  block: "One at a time, as they were accepted; those behind one that has failed wait for it.",
  "step aside": "One at a time, as they were accepted; when one has failed, the next runs.",
  off: "In no order.",
};

function effectsOf({ concurrency, rate, order, unique, debounce }) {
  const later = order || unique || debounce;
  return [
    concurrency && `At most ${concurrency} at once.`,
    rate && `At most ${plural(rate.count, "job")} in ${rate.perSeconds} s ${rate.count === 1 ? "begins" : "begin"}, ${rate.burst > 1 ? `up to ${rate.burst} of them at once` : "evenly"}.`,
    order && IN_ORDER[order],
    unique && (unique === "off" ? "Each makes a job, however alike they are." : `Of those alike only the first makes a job${uniqueSpan(unique)}; the others are answered with it.`),
    debounce && (debounce === "off" ? "Each runs, however soon after another." : `Of those that come within ${debounce.waitS ?? "…"} s of one another the newest runs${debounce.latestS ? `, at the latest ${debounce.latestS} s after the first` : ""}.`),
    later && "Order, unique and debounce hold for what is accepted from then on.",
  ].filter(Boolean);
}

function uniqueSpan({ until, forS }) {
  const spans = [until && `until it ${until}s`, forS && `for ${forS} s`].filter(Boolean);
  return spans.length > 0 ? `, ${spans.join(" and ")}` : "";
}
