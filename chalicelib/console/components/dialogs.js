// Dialogs: the browser's own, with its focus and its Esc.
import { html, useEffect, useRef } from "../lib.js";
import { Form } from "./form.js";

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

// Says what is about to happen. ``onConfirm``: as a form's ``send``; while it fails, the dialog says why and stays.
export function Confirm({ title, onConfirm, onClose, children, ...form }) {
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <${Form} ...${form} send=${onConfirm} onSent=${onClose} buttons=${html`<button type="button" onClick=${onClose}>Back</button>`}>${children}</${Form}>
  </${Dialog}>`;
}
