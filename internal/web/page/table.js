// The table: all rows are kept, those that can be seen are in the document.
import { $, el, age, stateClass } from "./dom.js";

const all = new Map(); // by the node's name
let order = []; // their names, sorted
let shown = []; // those that pass the filters, sorted
let active = null; // name of the chosen node
let loaded = false; // all rows have come once
let due = 0; // the next frame draws
let counted = false; // what counts shows is up to date
const marked = new Set(); // what the browser was told for its measurements
let needle = ""; // what is looked for, in lower case

const columns = ["node", "state", "ready", "reason", "nics", "age", "drift", "version", "message"];
const titles = { node: "Node", state: "State", ready: "Ready", reason: "Reason", nics: "NICs", age: "Age", drift: "Drift", version: "Version", message: "Message" };
const states = ["Failed", "Pending", "InProgress", "Configured", "no object"];
const height = 30; // of a row, with its line
const margin = 6; // rows above and below those that can be seen

const filter = { state: new Set(), reason: "", q: "", version: "", "not-ready": false, drift: false, sort: "" };

// trouble orders nodes by how much they need somebody.
function trouble(r) {
  if (r.state === "Failed") return 0;
  if (r.degraded) return 1;
  if (r.state === "Pending") return 2;
  if (r.state === "InProgress") return 3;
  if (r.state === "no object") return 5;
  return r.ready === "True" ? 6 : 4;
}

const keys = {
  node: (r) => r.node, state: (r) => r.state || "", ready: (r) => r.ready || "", reason: (r) => r.reason || "", nics: (r) => r.nics || "",
  age: (r) => -(r.changed || 0), drift: (r) => (r.drift ? 0 : 1), version: (r) => r.version || "", message: (r) => r.message || "",
};

function passes(r) {
  if (filter.state.size && !filter.state.has(r.state || "")) return false;
  if (filter["not-ready"] && (r.ready === "True" || r.state === "no object")) return false;
  if (filter.drift && !r.drift) return false;
  if (filter.version && r.version !== filter.version) return false;
  if (filter.reason && r.reason !== filter.reason && r.degraded !== filter.reason && !(r.others || []).includes(filter.reason)) return false;
  return !needle || r.text.includes(needle);
}

// fleet takes a message of the stream over.
export function fleet(m) {
  if (m.reset) all.clear();
  const fresh = []; // nodes that were not there
  for (const r of m.rows || []) {
    r.text = [r.node, r.reason, r.degraded, r.message, ...(r.others || [])].join(" ").toLowerCase();
    r.rank = trouble(r);
    if (!all.has(r.node)) fresh.push(r.node);
    all.set(r.node, r);
  }
  for (const name of m.gone || []) all.delete(name);
  loaded = loaded || !m.more;
  if (m.reset) order = [];
  order = [...order, ...fresh];
  choose();
}

// choose filters and sorts anew. It begins with the former order, which costs little to mend.
function choose() {
  counted = false;
  const rows = order.map((name) => all.get(name)).filter((r) => r);
  const down = filter.sort.startsWith("-");
  const key = keys[down ? filter.sort.slice(1) : filter.sort];
  const names = (a, b) => (a.node < b.node ? -1 : 1);
  if (!key) rows.sort((a, b) => a.rank - b.rank || names(a, b));
  else rows.sort((a, b) => { const x = key(a), y = key(b); return x < y ? (down ? 1 : -1) : x > y ? (down ? -1 : 1) : names(a, b); });
  order = rows.map((r) => r.node);
  shown = rows.filter(passes);
  draw();
}

// draw has the next frame show what has changed.
function draw() { if (!due) due = requestAnimationFrame(() => { due = 0; if (!$("fleet").hidden) render(); }); }

let pool = []; // rows of the document
const before = el("tr", { className: "pad", role: "presentation" }, el("td", { colSpan: columns.length }));
const after = el("tr", { className: "pad", role: "presentation" }, el("td", { colSpan: columns.length }));
$("rows").append(before, after);

function newRow() {
  const link = el("a", { tabIndex: -1 });
  const cells = columns.map((c) => el("td", { className: c, role: "gridcell" }));
  cells[0].append(link);
  const tr = el("tr", { role: "row" }, ...cells);
  return { tr, cells, link, row: null, stale: false };
}

const told = /^\d+ of \d+ interfaces configured; /; // the column NICs says so too
const set = (e, text) => { if (e.textContent !== text) e.textContent = text; };
const dash = (s) => s || "–";

function fill(p, r, index) {
  p.tr.setAttribute("aria-rowindex", index + 2);
  p.tr.setAttribute("aria-selected", r.node === active);
  if (p.row === r && !p.stale) return;
  p.row = r;
  p.stale = false;
  const query = new URLSearchParams(location.search);
  query.set("node", r.node);
  set(p.link, r.node);
  p.link.href = "?" + query;
  const [, state, ready, reason, nics, changed, drift, version, message] = p.cells;
  set(state, r.state || "not known");
  state.className = "state " + stateClass(r.state);
  set(ready, dash(r.ready));
  const why = r.degraded && r.degraded !== r.reason ? [r.reason, r.degraded].filter(Boolean).join(", ") : r.reason;
  set(reason, dash(why));
  set(nics, dash(r.nics));
  changed.dataset.at = r.changed || 0;
  set(changed, age(r.changed));
  set(drift, dash((r.drift || []).join(", ")));
  set(version, dash(r.version));
  set(message, dash((r.message || "").replace(told, "")));
  message.title = r.message || "";
}

function render() {
  const box = $("scroll");
  const first = Math.max(0, Math.floor(box.scrollTop / height) - margin);
  const last = Math.min(shown.length, Math.ceil((box.scrollTop + box.clientHeight) / height) + margin);
  while (pool.length < last - first) { const p = newRow(); pool.push(p); after.before(p.tr); }
  while (pool.length > Math.max(0, last - first)) pool.pop().tr.remove();
  for (let i = first; i < last; i++) fill(pool[i - first], shown[i], i);
  before.firstChild.style.height = first * height + "px";
  after.firstChild.style.height = Math.max(0, shown.length - last) * height + "px";
  const at = pool.find((p) => p.row && p.row.node === active);
  for (const p of pool) if (p.tr.id) p.tr.id = "";
  if (at) { at.tr.id = "active"; box.setAttribute("aria-activedescendant", "active"); } else box.removeAttribute("aria-activedescendant");
  box.setAttribute("aria-rowcount", shown.length + 1);
  $("none").hidden = shown.length > 0 || !loaded;
  set($("none"), all.size ? "No node passes these filters." : "There is no node.");
  set($("count"), loaded ? shown.length.toLocaleString("en") + " of " + all.size.toLocaleString("en") + " nodes" : "loading");
  if (!counted) counts();
  counted = true;
  for (const [name, is] of [["first-row", shown.length > 0], ["all-rows", loaded]]) if (is && !marked.has(name)) { marked.add(name); performance.mark(name); }
}

// counts shows how many nodes there are of each state, reason and version.
function counts() {
  const of = new Map(), reasons = new Set(), versions = new Set();
  for (const r of all.values()) {
    of.set(r.state || "", (of.get(r.state || "") || 0) + 1);
    for (const x of [r.reason, r.degraded, ...(r.others || [])]) if (x) reasons.add(x);
    if (r.version) versions.add(r.version);
  }
  for (const b of $("states").children) set(b, b.value + " " + (of.get(b.value) || 0).toLocaleString("en"));
  options($("reasons"), [...reasons].sort().slice(0, 200));
  if (filter.version) versions.add(filter.version);
  options($("version"), ["", ...[...versions].sort().slice(0, 200)]);
  $("version").value = filter.version;
}

function options(list, values) {
  const key = JSON.stringify(values);
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  list.replaceChildren(...values.map((v) => el("option", { value: v }, v || "any")));
}

// move chooses another row, or opens the chosen one. It is false for keys that mean nothing here.
export function move(key) {
  const at = shown.findIndex((r) => r.node === active);
  const page = Math.max(1, Math.floor($("scroll").clientHeight / height) - 2);
  const to = { ArrowDown: at + 1, ArrowUp: at < 0 ? 0 : at - 1, PageDown: Math.max(at, 0) + page, PageUp: at - page, Home: 0, End: shown.length - 1 }[key];
  if (key === "Enter" && at >= 0) { document.dispatchEvent(new CustomEvent("open-node", { detail: active })); return true; }
  if (to === undefined || !shown.length) return false;
  const index = Math.min(Math.max(to, 0), shown.length - 1);
  active = shown[index].node;
  const box = $("scroll"), head = $("head").offsetHeight;
  const top = index * height, bottom = top + height - (box.clientHeight - head);
  if (box.scrollTop > top) box.scrollTop = top;
  else if (box.scrollTop < bottom) box.scrollTop = bottom;
  draw();
  return true;
}

// filtersOf reads the filters out of the address.
export function filtersOf(query) {
  filter.state = new Set(query.getAll("state").map((s) => states.find((k) => k.toLowerCase() === s.toLowerCase()) || s));
  filter.reason = query.get("reason") || "";
  filter.q = query.get("q") || "";
  needle = filter.q.toLowerCase();
  filter.version = query.get("version") || "";
  filter.sort = query.get("sort") || "";
  for (const k of ["not-ready", "drift"]) filter[k] = query.has(k);
}

// show brings the controls in line with the address, and draws.
export function show() {
  for (const b of $("states").children) b.setAttribute("aria-pressed", filter.state.has(b.value));
  if (document.activeElement !== $("q")) $("q").value = filter.q;
  if (document.activeElement !== $("reason")) $("reason").value = filter.reason;
  for (const k of ["not-ready", "drift"]) $(k).checked = filter[k];
  for (const th of $("head").children) {
    const name = filter.sort.replace("-", "");
    if (th.className === name) th.setAttribute("aria-sort", filter.sort.startsWith("-") ? "descending" : "ascending");
    else th.removeAttribute("aria-sort");
  }
  for (const p of pool) p.stale = true; // their links have the filters too; a click before the next frame still finds its row
  choose();
}

// store puts the filters into the address. Another filter is no other page: back leads out.
function store(change) {
  const query = new URLSearchParams(location.search);
  change(query);
  history.replaceState(null, "", query.size ? "?" + query : "./");
  filtersOf(query);
  $("scroll").scrollTop = 0;
  show();
}

const put = (key, value) => store((q) => { if (value) q.set(key, value); else q.delete(key); });

for (const s of states) {
  const b = el("button", { type: "button", value: s, className: stateClass(s), onclick: () => store((q) => {
    const on = q.getAll("state").filter((x) => x.toLowerCase() !== s.toLowerCase());
    if (on.length === q.getAll("state").length) on.push(s);
    q.delete("state");
    for (const x of on) q.append("state", x);
  }) }, s);
  $("states").append(b);
}
for (const c of columns) {
  const b = el("button", { type: "button", onclick: () => put("sort", filter.sort === c ? "-" + c : filter.sort === "-" + c ? "" : c) }, titles[c]);
  $("head").append(el("th", { className: c, role: "columnheader", scope: "col" }, b));
}
$("q").addEventListener("input", () => put("q", $("q").value));
$("reason").addEventListener("input", () => put("reason", $("reason").value));
$("version").addEventListener("change", () => put("version", $("version").value));
for (const k of ["not-ready", "drift"]) $(k).addEventListener("change", () => put(k, $(k).checked ? "1" : ""));
$("clear").addEventListener("click", () => { $("q").value = $("reason").value = ""; store((q) => { for (const k of Object.keys(filter)) q.delete(k); }); });
$("filters").addEventListener("submit", (e) => e.preventDefault());
$("scroll").addEventListener("scroll", draw, { passive: true });
$("rows").addEventListener("click", (e) => {
  const p = pool.find((x) => x.tr === e.target.closest("tr"));
  if (!p || e.target.closest("a")) { if (p) active = p.row.node; return; }
  active = p.row.node;
  document.dispatchEvent(new CustomEvent("open-node", { detail: active }));
});
window.addEventListener("resize", draw);
