// A value that many components show: whoever uses it is drawn anew when it changes.
import { useEffect, useState } from "./lib.js";

export function storeOf(first) {
  const listeners = new Set();
  const store = {
    value: first,
    set(value) {
      if (Object.is(value, store.value)) return;
      store.value = value;
      for (const listener of [...listeners]) listener(value);
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
  return store;
}

export function useStore(store) {
  const [value, setValue] = useState(() => store.value);
  useEffect(() => {
    setValue(() => store.value);
    return store.subscribe((next) => setValue(() => next));
  }, [store]);
  return value;
}
