// What all others use of preact: elements as tagged templates, and hooks.
import * as preact from "preact";
import * as hooks from "preact/hooks";
import htm from "htm";

export const html = htm.bind(preact.createElement);
export const createContext = preact.createContext;
export const render = preact.render;
export const useContext = hooks.useContext;
export const useEffect = hooks.useEffect;
export const useLayoutEffect = hooks.useLayoutEffect;
export const useMemo = hooks.useMemo;
export const useRef = hooks.useRef;
export const useState = hooks.useState;
