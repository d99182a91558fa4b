// Dialogs: the browser's own, with its focus and its Esc.
import { html, useEffect, useRef, useState } from "../lib.js";
import { Refused } from "./notes.js";

export function Dialog({ title, onClose, isWide, children }) {
  const element = useRef(null);
  useEffect(() => {
    const opener = document.activeElement;
    element.current.showModal();
    return () => opener?.isConnected && opener.focus();
  }, []);
  return html`<dialog ref=${element} class=${isWide ? "wide" : ""} aria-labelledby="dialog-title" onClose=${onClose}
    onClick=${(event) => event.target === element.current && element.current.close()}>
    <div class="inside"><h2 id="dialog-title">${title}</h2>${children}</div>
  </dialog>`;
}

// Says what is about to happen. ``onConfirm`` may fail: then the dialog says why and stays.
export function Confirm({ title, confirm, isDangerous, isReady = true, onConfirm, onClose, children }) {
  const [state, setState] = useState({ isBusy: false, error: null });
  async function submit(event) {
    event.preventDefault();
    setState({ isBusy: true, error: null });
    try {
      await onConfirm();
      onClose();
    } catch (error) {
      setState({ isBusy: false, error });
    }
  }
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <form onSubmit=${submit}>
      ${children}
      <${Refused} error=${state.error} />
      <div class="buttons">
        <button type="button" onClick=${onClose}>Back</button>
        <button class=${isDangerous ? "danger" : "primary"} disabled=${state.isBusy || !isReady}>${confirm}</button>
      </div>
    </form>
  </${Dialog}>`;
}
