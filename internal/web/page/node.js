// The page of a node. A part is drawn anew only if it has changed.
import { $, el, time, stateClass } from "./dom.js";

const drawn = {}; // by the part's id: what it shows, as JSON

function part(id, data, make) {
  const key = JSON.stringify(data ?? null);
  if (drawn[id] === key) return;
  drawn[id] = key;
  $(id).replaceChildren(...[make(data)].flat());
}

const soft = (text) => el("p", { className: "soft" }, text);
const lines = (all, className) => (all || []).map((text) => el("div", { className: className || "" }, text));

function table(titles, rows) {
  return el("table", {}, el("thead", {}, el("tr", {}, ...titles.map((t) => el("th", { scope: "col" }, t)))), el("tbody", {}, ...rows));
}

// there marks what the kernel has and the object does not want. A node says the first address and the MTU.
function there(n) {
  const wanted = n.wanted || [];
  return (n.there || []).map((text) => {
    const sort = (x) => (x.startsWith("MTU ") ? "MTU" : /^[0-9a-f.:]+\/\d+$/i.test(x) ? "address" : "other");
    const same = wanted.filter((w) => sort(w) === sort(text));
    return el("div", { className: "mono" + (n.wanted && same.length && !same.some((w) => w.toLowerCase() === text.toLowerCase()) ? " differs" : "") }, text);
  });
}

function nic(n) {
  const why = [el("div", {}, n.reason || "–", n.outcome ? " (" + n.outcome + ")" : "", n.drifts ? ", drift" : "")];
  if (n.message) why.push(el("div", {}, n.message));
  if (n.advice) why.push(el("div", { className: "advice" }, n.advice));
  return el("tr", { className: n.state === "Failed" || n.drifts ? "bad" : "" },
    el("td", {}, el("div", {}, n.name || "–"), el("div", { className: "mono soft" }, n.mac)),
    el("td", {}, ...(n.wanted ? (n.wanted.length ? lines(n.wanted, "mono") : [el("span", { className: "soft" }, "name only")]) : [el("span", { className: "soft" }, "not wanted any more")])),
    el("td", {}, ...(n.there ? there(n) : [el("span", { className: "soft" }, "nothing reported")])),
    el("td", {}, el("span", { className: stateClass(n.state) }, n.state || "not reported"), ...(n.since ? [el("div", { className: "soft" }, "since ", time(n.since))] : []),
      ...(n.repair ? [el("div", { className: "soft" }, "put back ", time(n.repair.at), n.repair.about ? ": " + n.repair.about : "")] : [])),
    el("td", {}, ...why));
}

function condition(c) {
  return el("tr", {}, el("td", {}, c.type), el("td", {}, c.status), el("td", {}, time(c.since)),
    el("td", {}, el("div", {}, c.reason || "–"), ...(c.message ? [el("div", {}, c.message)] : []), ...(c.advice ? [el("div", { className: "advice" }, c.advice)] : [])));
}

function event(e) {
  return el("tr", {}, el("td", {}, time(e.last)), el("td", {}, el("span", { className: stateClass(e.type) }, e.type)), el("td", {}, e.reason),
    el("td", {}, e.message, e.count > 1 ? " (" + e.count + " times)" : ""));
}

function list(all) {
  if (!all || !all.length) return soft("Nothing is known.");
  return el("dl", {}, ...all.flatMap((f) => [el("dt", {}, f.name), el("dd", {}, f.text || "", f.text && f.at ? ", " : "", ...(f.at ? [time(f.at), " ago"] : []))]));
}

// clear shows a node of which nothing has come yet.
export function clear(name) {
  for (const id of ["nics", "conditions", "rollout", "token", "facts", "events"]) { drawn[id] = undefined; $(id).replaceChildren(soft("loading")); }
  drawn.name = undefined;
  $("name").textContent = name;
  $("state").textContent = $("why").textContent = "";
}

// show shows what the stream has said of the node.
export function show(d) {
  part("name", d.node, (name) => [name]);
  $("state").className = stateClass(d.state);
  $("state").textContent = d.known ? d.state || "not known" : "unknown";
  $("why").textContent = d.known ? [d.ready && "Ready " + d.ready, d.reason, d.degraded !== d.reason && d.degraded, d.message].filter(Boolean).join(": ") : "Nothing in the cluster is about a node of this name.";
  part("nics", d.interfaces, (all) => (all ? table(["NIC", "Wanted", "There", "State", "Why"], all.map(nic)) : soft("No NIC is wanted.")));
  part("conditions", d.conditions, (all) => (all ? table(["Type", "Status", "Since", "Why"], all.map(condition)) : soft("There are none.")));
  part("rollout", d.rollout, list);
  part("token", d.token, list);
  part("facts", [...(d.facts || []), ...(d.version ? [{ name: "Version", text: d.version }] : [])], list);
  part("events", d.events, (all) => (all ? table(["Age", "Type", "Reason", "Message"], all.map(event)) : soft("There are none: Kubernetes keeps them for an hour.")));
}
