// Where one enters an access key.
import { session, signIn } from "../api.js";
import { html, useEffect, useRef, useState } from "../lib.js";
import { useStore } from "../stores.js";

const REFUSED = "The API does not know this key or user, or it was revoked.";

export function SignIn() {
  const { refusal } = useStore(session);
  const [state, setState] = useState({ isBusy: false, problem: "" });
  const field = useRef(null);
  useEffect(() => {
    document.title = "Sign in · Taskyard";
    field.current.focus();
  }, []);
  async function submit(event) {
    event.preventDefault();
    setState({ isBusy: true, problem: "" });
    try {
      await signIn(field.current.value.trim());
    } catch (error) {
      setState({ isBusy: false, problem: error.status === 401 ? REFUSED : error.message });
      field.current?.focus();
    }
  }
  const problem = state.problem || (refusal ? REFUSED : "");
  return html`<main class="signin"><form onSubmit=${submit}>
    <h1>Taskyard</h1>
    <p>This stage answers only to an access key. To see everything it needs the scope <code>console</code>, to act${" "}
      <code>console:manage</code>.</p>
    <label>Access key, or user:password <input ref=${field} type="password" autocomplete="off" spellcheck=${false} required placeholder="ty_…"
      aria-describedby="signin-problem" /></label>
    <p id="signin-problem" class="bad" role="alert">${problem}</p>
    <div class="buttons"><button class="primary" disabled=${state.isBusy}>Sign in</button></div>
    <p class="soft">The key stays in this tab and is gone with it. A new one:</p>
    <pre>taskyard keys create --stage STAGE --label NAME \\
  --scope console --scope console:manage</pre>
  </form></main>`;
}
