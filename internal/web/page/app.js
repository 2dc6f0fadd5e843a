// The page: what the address says is shown, what the stream says is kept. A text of the cluster only
// ever becomes the text of an element, never markup.
import { fleet, show as showFleet, move, filtersOf } from "./table.js";
import { show as showNode, clear as clearNode } from "./node.js";
import { $, tick } from "./dom.js";

let source = null; // the open stream
let mark = ""; // up to where the rows are known
let node = null; // whose page is shown; null: the table
let wait = 1000; // before the next try to connect, in ms
let again = 0; // the timer of that try
let ended = false; // the command has said so
let asleep = 0; // the timer that closes the stream of a page nobody sees

const live = (state, text) => { $("live").dataset.state = state; if ($("live").textContent !== text) $("live").textContent = text; };

function connect() {
  disconnect();
  if (ended) return;
  const query = new URLSearchParams();
  if (node !== null) query.set("node", node); else if (mark) query.set("since", mark);
  const mine = source = new EventSource("stream?" + query);
  mine.onopen = () => { wait = 1000; live("on", "live"); };
  mine.onerror = () => {
    if (mine !== source) return;
    disconnect();
    live("off", "no connection to the command; next try in " + Math.round(wait / 1000) + " s");
    again = setTimeout(connect, wait);
    wait = Math.min(wait * 2, 30000);
  };
  mine.addEventListener("bye", () => { ended = true; disconnect(); live("off", "the command has ended: what is shown stands still"); });
  mine.addEventListener("notices", (e) => notices(JSON.parse(e.data)));
  mine.addEventListener("fleet", (e) => { if (e.lastEventId) mark = e.lastEventId; fleet(JSON.parse(e.data)); });
  mine.addEventListener("node", (e) => { const d = JSON.parse(e.data); if (mine === source) showNode(d); });
}

function disconnect() {
  clearTimeout(again);
  if (source) source.close();
  source = null;
}

function notices(all) {
  $("notices").replaceChildren(...all.map((n) => { const li = document.createElement("li"); li.dataset.kind = n.kind; li.textContent = n.text; return li; }));
}

// route shows what the address says.
function route() {
  const query = new URLSearchParams(location.search);
  const before = node;
  node = query.get("node");
  $("fleet").hidden = node !== null;
  $("node").hidden = node === null;
  document.title = node === null ? "Fleet" : node + " – fleet";
  filtersOf(query);
  if (node !== null) {
    query.delete("node");
    $("back").href = $("home").href = query.size ? "?" + query : "./";
    if (node !== before) clearNode(node);
    $("node").focus();
  } else {
    $("home").href = "./";
    showFleet();
    if (before !== null) $("scroll").focus();
  }
  if (node !== before || !source) connect();
}

// open shows the page of a node, or all nodes.
export function open(name) {
  const query = new URLSearchParams(location.search);
  if (name === null) query.delete("node"); else query.set("node", name);
  go(query.size ? "?" + query : "./");
}

function go(to) {
  history.pushState(null, "", to);
  route();
}

document.addEventListener("click", (e) => {
  const a = e.target.closest("a");
  if (!a || e.defaultPrevented || e.button || e.ctrlKey || e.metaKey || e.shiftKey || a.origin !== location.origin) return;
  e.preventDefault();
  go(a.getAttribute("href"));
});
document.addEventListener("open-node", (e) => open(e.detail));
window.addEventListener("popstate", route);

document.addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || $("help").open) return;
  const typing = e.target.matches("input:not([type=checkbox]), select");
  if (e.key === "Escape" && node !== null) open(null);
  else if (e.key === "Escape" && typing) $("scroll").focus();
  else if (typing) return;
  else if (e.key === "?") $("help").showModal();
  else if (e.key === "/" && node === null) $("q").focus();
  else if (e.target !== $("scroll") || node !== null || !move(e.key)) return;
  e.preventDefault();
});
$("keys").addEventListener("click", () => $("help").showModal());

// A page that nobody sees has no stream: it costs nothing, and other pages can have theirs.
document.addEventListener("visibilitychange", () => {
  clearTimeout(asleep);
  if (document.hidden) asleep = setTimeout(() => { disconnect(); live("wait", "asleep"); }, 30000);
  else { tick(); if (!source) { wait = 1000; connect(); } }
});
setInterval(() => { if (!document.hidden) tick(); }, 5000);
route();
