// What both views share: elements, and ages.
export const $ = (id) => document.getElementById(id);

// el makes an element. Children are elements or texts; what is empty is left out.
export function el(tag, props, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(props || {})) {
    if (k in e) e[k] = v; else e.setAttribute(k, v);
  }
  e.append(...children.filter((c) => c !== "" && c !== undefined && c !== null));
  return e;
}

// age is a span as kubectl prints it.
export function age(at) {
  if (!at) return "–";
  const s = Math.max(0, Math.floor(Date.now() / 1000) - at);
  if (s < 120) return s + "s";
  if (s < 3 * 3600) return Math.floor(s / 60) + "m";
  if (s < 48 * 3600) return Math.floor(s / 3600) + "h";
  return Math.floor(s / 86400) + "d";
}

// time shows how long ago something was, and goes on doing so.
export function time(at) {
  if (!at) return el("span", {}, "–");
  const iso = new Date(at * 1000).toISOString();
  const t = el("time", { dateTime: iso, title: iso }, age(at));
  t.dataset.at = at;
  return t;
}

// tick brings all ages up to date that are shown.
export function tick() {
  for (const t of document.querySelectorAll("[data-at]")) {
    const text = age(Number(t.dataset.at));
    if (t.textContent !== text) t.textContent = text;
  }
}

// stateClass is the class for a state's mark; a word of the cluster becomes none.
const known = ["Configured", "Failed", "Pending", "InProgress", "True", "Warning"];
export const stateClass = (s) => "of of-" + (known.includes(s) ? s : "none");
