package bridge

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/test/bed"
	"multinicd/test/bed/browser"
)

// What a person sees and clicks in a browser, of a real cluster.
func TestTheFleetInABrowser(t *testing.T) {
	c := newCluster(t)
	defer c.startBridge(v1.SilentAfter)()
	l := &listing{cluster: c, binary: bed.Build(t, "./cmd/bridge")}
	l.operator = l.kubeconfig("operator", "system:masters")
	l.fourStories()
	address, end := servePage(t, l.binary, l.operator, fourNodes...)
	p := &pageOf{Browser: browser.New(t), l: l, address: address}
	p.tableIsThere()
	p.filtersLiveInTheAddress()
	p.keysSuffice()
	p.nodeSaysWhatIsWantedThereAndWhy()
	p.changesComeByThemselves()
	p.scriptIsText()
	p.followsTheSystemsColours()
	if said := p.Complaints(); len(said) > 0 {
		t.Errorf("the browser complains: %q", said)
	}
	p.isForNoOtherOrigin()
	p.saysWhatMayNotBeSeen()
	end()
	p.Sees(`document.getElementById("live").textContent`, "the command has ended: what is shown stands still")
}

// pageOf is the page in a browser.
type pageOf struct {
	*browser.Browser
	l       *listing
	address string
}

// Expressions: what a person sees in the table, and in the table of NICs.
const (
	rowsSeen   = `[...document.querySelectorAll("#rows tr[role=row]")].map(r => [...r.cells].slice(0, 5).map(c => c.textContent).join(" ")).join("\n")`
	nicsSeen   = `[...document.querySelectorAll("#nics tbody tr")].map(r => [...r.cells].map(c => [...c.children].map(e => e.textContent).join(" ")).join(" | ")).join("\n")`
	wherePage  = `location.search`
	fourthRows = "fleet-failed Failed False InterfacesFailed 1/2\nfleet-fight InProgress False DriftFighting 1/2\nfleet-unheard Pending Unknown NoReport 0/2\nfleet-ready Configured True AllInterfacesConfigured 2/2"
)

func (p *pageOf) tableIsThere() {
	p.l.t.Helper()
	p.Open(p.address)
	p.Sees(rowsSeen, fourthRows)
	p.Sees(countSeen, "4 of 4 nodes")
	p.Sees(`document.getElementById("live").textContent`, "live")
	p.Sees(`[...document.querySelectorAll("#states button")].map(b => b.textContent).join(", ")`, "Failed 1, Pending 1, InProgress 1, Configured 1, no object 0")
	p.Sees(`document.getElementById("notices").children.length`, "0")
	p.Sees(`document.querySelector("#rows tr[role=row] .message").textContent`, "multinic2: NameTaken: another link is called multinic2")
}

func (p *pageOf) filtersLiveInTheAddress() {
	p.l.t.Helper()
	p.Click(`#states button[value=Failed]`)
	p.Sees(wherePage, "?state=Failed")
	p.Sees(countSeen, "1 of 4 nodes")
	p.Click(`#states button[value=Pending]`)
	p.Sees(wherePage, "?state=Failed&state=Pending")
	p.Reload() // the address has them
	p.Sees(countSeen, "2 of 4 nodes")
	p.Sees(`[...document.querySelectorAll("#states button[aria-pressed=true]")].map(b => b.value).join()`, "Failed,Pending")
	p.Click("#clear")
	p.Sees(countSeen, "4 of 4 nodes")
	p.Type("#q", "FIGHT")
	p.Sees(rowsSeen, "fleet-fight InProgress False DriftFighting 1/2")
	p.Sees(wherePage, "?q=FIGHT")
	p.Click("#clear")
	p.Type("#reason", "NameTaken") // of a NIC
	p.Sees(rowsSeen, "fleet-failed Failed False InterfacesFailed 1/2")
	p.Click("#clear")
	p.Click("#drift")
	p.Sees(rowsSeen, "fleet-fight InProgress False DriftFighting 1/2")
	p.Click("#drift")
	p.Click("#not-ready")
	p.Sees(countSeen, "3 of 4 nodes")
	p.Type("#q", "no such node")
	p.Sees(`document.getElementById("none").textContent`, "No node passes these filters.")
	p.Click("#clear")
	p.Click("#head .node button")
	p.Sees(wherePage+` + document.querySelector("#rows tr[role=row] .node").textContent`, "?sort=nodefleet-failed")
	p.Click("#head .node button")
	p.Sees(wherePage+` + document.querySelector("#rows tr[role=row] .node").textContent`, "?sort=-nodefleet-unheard")
	p.Click("#clear")
	p.Sees(rowsSeen, fourthRows)
}

// keysSuffice goes through the table, into a node's page and back without a mouse.
func (p *pageOf) keysSuffice() {
	p.l.t.Helper()
	chosen := `document.getElementById("active")?.querySelector(".node").textContent`
	p.Press("/") // into the search, and out of it
	p.Sees(`document.activeElement.id`, "q")
	p.Press("a/?b")
	p.Sees(`document.getElementById("q").value`, "a/?b")
	p.Press(browser.Escape)
	p.Sees(`document.activeElement.id`, "scroll")
	p.Click("#clear")
	p.Press("/" + browser.Escape + browser.Down)
	p.Sees(chosen, "fleet-failed")
	p.Press(browser.Down)
	p.Sees(chosen, "fleet-fight")
	p.Press(browser.End)
	p.Sees(chosen, "fleet-ready")
	p.Press(browser.Home + browser.Enter)
	p.Sees(`document.getElementById("name").textContent`, "fleet-failed")
	p.Sees(wherePage, "?node=fleet-failed")
	p.Press(browser.Escape)
	p.Sees(rowsSeen, fourthRows)
	p.Sees(`document.activeElement.id + " " + `+chosen, "scroll fleet-failed")
	p.Press("?")
	p.Sees(`document.getElementById("help").open`, "true")
	p.Press(browser.Escape)
	p.Sees(`document.getElementById("help").open`, "false")
	p.Back() // to the node's page, as in every other page
	p.Sees(wherePage, "?node=fleet-failed")
	p.Back()
	p.Sees(rowsSeen, fourthRows)

	// A click on a row that the next frame draws anew.
	browser.Eval[bool](p.Browser, `document.getElementById("clear").click(), document.querySelector("#rows tr[role=row] td.state").click(), true`)
	p.Sees(wherePage, "?node=fleet-failed")
	p.Press(browser.Escape)
	p.Sees(rowsSeen, fourthRows)
}

func (p *pageOf) nodeSaysWhatIsWantedThereAndWhy() {
	p.l.t.Helper()
	p.Click(`#rows a[href$="node=fleet-failed"]`)
	p.Sees(`document.querySelector("#node h2").textContent`, "fleet-failed Failed")
	p.Sees(`document.getElementById("why").textContent`, "Ready False: InterfacesFailed: 1 of 2 interfaces configured; multinic2: NameTaken: another link is called multinic2")
	p.Sees(nicsSeen+`.split("\n")[0]`, "multinic1 02:00:00:00:01:01 | 192.168.100.10/24 | nothing reported | Configured | Configured")
	second := browser.Eval[string](p.Browser, nicsSeen+`.split("\n")[1]`)
	if want := "multinic2 02:00:00:00:01:02 | 192.168.200.10/24 | nothing reported | Failed | NameTaken another link is called multinic2 "; !strings.HasPrefix(second, want) || len(second) < len(want)+20 {
		p.l.t.Errorf("the NIC that failed is\n%s\nwant\n%s and what docs/reasons.md advises", second, want)
	}
	p.Sees(`[...document.querySelectorAll("#conditions tbody tr")].map(r => r.cells[0].textContent + r.cells[1].textContent).join()`, "DegradedTrue,ProgressingFalse,ReadyFalse")
	p.Sees(`[...document.querySelectorAll("#rollout dd")].map(e => e.textContent).join()`, "generation 1,generation 1,there is no brake")
	p.Sees(`[...document.querySelectorAll("#token dt")].map(e => e.textContent).join()`, "Identity made,Lease")
	p.Sees(`document.querySelector("#events tbody")?.textContent.includes("InterfacesFailed")`, "true") // the bridge's own Event
	p.Click("#back")
	p.Sees(rowsSeen, fourthRows)
}

// changesComeByThemselves: the page is not loaded again.
func (p *pageOf) changesComeByThemselves() {
	p.l.t.Helper()
	browser.Eval[bool](p.Browser, `window.sameDocument = true`)
	n := &node{c: p.l.cluster, name: "fleet-ready", client: p.l.as("system:serviceaccount:" + v1.NodesNamespace + ":" + v1.ServiceAccountName("fleet-ready"))}
	o := n.shell()
	if err := p.l.admin.Get(p.l.t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
		p.l.t.Fatal(err)
	}
	r := n.report(o, v1.StateConfigured, v1.ReasonConfigured)
	r.Version = "1.2.4"
	r.Interfaces[0].Status, r.Interfaces[0].Reason, r.Interfaces[0].Message = v1.StatePending, v1.ReasonWaitingForNIC, "no link of the host has this MAC"
	n.say(r)
	ready := `[...document.querySelectorAll("#rows tr[role=row]")].find(r => r.cells[0].textContent === "fleet-ready")`
	p.Sees(`[1, 2, 3, 4, 7].map(i => `+ready+`.cells[i].textContent).join(" ")`, "Pending False InterfacesWaiting 1/2 1.2.4")
	p.Click(`#rows a[href$="node=fleet-ready"]`)
	p.Sees(`document.querySelector("#nics tbody tr .of").textContent`, "Pending")
	r.Interfaces[0].Status, r.Interfaces[0].Reason, r.Interfaces[0].Message, r.Interfaces[0].Address, r.Interfaces[0].MTU = v1.StateConfigured, v1.ReasonConfigured, "", "192.168.100.11/24", 1500
	n.say(r)
	p.Sees(nicsSeen+`.split("\n")[0]`, "multinic1 02:00:00:00:01:01 | 192.168.100.10/24 | 192.168.100.11/24 MTU 1500 | Configured | Configured")
	p.Sees(`[...document.querySelectorAll("#nics .differs")].map(e => e.textContent).join()`, "192.168.100.11/24")
	p.Press(browser.Escape)
	p.Sees(`window.sameDocument`, "true")
}

// scriptIsText: what a node reports is shown to the letter.
func (p *pageOf) scriptIsText() {
	p.l.t.Helper()
	const script = `</td><script>alert(1)</script><img src=x onerror=alert(2)>`
	liar := p.l.node("fleet-liar")
	r := liar.report(p.l.labelled(liar, false), v1.StateFailed, v1.ReasonApplyFailed)
	for i := range r.Interfaces {
		r.Interfaces[i].Message = script
	}
	r.Version = "<b>1</b>"
	liar.say(r)
	p.Sees(`[...document.querySelectorAll("#rows tr[role=row]")].find(r => r.cells[0].textContent === "fleet-liar")?.cells[7].textContent`, "<b>1</b>")
	// Not by the mouse: the row goes to its place among those that failed just now, and another one may be under the pointer then.
	p.Sees(`(document.querySelector('#rows a[href$="node=fleet-liar"]')?.click(), location.search.includes("node=fleet-liar"))`, "true")
	p.Sees(`document.querySelector("#nics tbody tr td:last-child").children[1].textContent`, script)
	p.Sees(`document.querySelectorAll("main script, main img, main b").length`, "0")
	p.Press(browser.Escape)
}

func (p *pageOf) followsTheSystemsColours() {
	p.l.t.Helper()
	background := `getComputedStyle(document.body).backgroundColor`
	for scheme, want := range map[string]string{"dark": "rgb(15, 19, 25)", "light": "rgb(255, 255, 255)"} {
		p.Scheme(scheme)
		p.Sees(background, want)
	}
}

// isForNoOtherOrigin has a page of another port, which knows the whole address, try to read it.
func (p *pageOf) isForNoOtherOrigin() {
	p.l.t.Helper()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<!doctype html><title>other</title>") }))
	defer other.Close()
	tab := p.Tab()
	defer tab.Close()
	tab.Open(other.URL)
	base, _, _ := strings.Cut(p.address, "?")
	tab.Sees(`await fetch("`+base+`").then(r => r.text(), e => e.name)`, "TypeError")
	tab.Sees(`await new Promise(d => { const s = document.createElement("script"); s.src = "`+base+`dom.js"; s.onload = () => d("ran"); s.onerror = () => d("refused"); document.head.append(s); })`, "refused")
	tab.Sees(`await new Promise(d => { const e = new EventSource("`+base+`stream"); e.onopen = () => d("open"); e.onerror = () => d("refused"); })`, "refused")
	tab.Open(strings.Replace(base, "127.0.0.1", browser.Elsewhere, 1))
	tab.Sees(`document.body.textContent.trim()`, "this server is for the browser of its own machine: open it as 127.0.0.1 or localhost")
}

// saysWhatMayNotBeSeen looks at the fleet as somebody who may read objects only.
func (p *pageOf) saysWhatMayNotBeSeen() {
	p.l.t.Helper()
	if _, err := p.l.Apply(p.l.t.Context(), `
{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: web-reader, namespace: multinic-system}, rules: [{apiGroups: [multinic.io], resources: [multinicnodeconfigs], verbs: [list, watch]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: web-reader, namespace: multinic-system}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: web-reader}, subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: web-reader}]}
`); err != nil {
		p.l.t.Fatal(err)
	}
	address, end := servePage(p.l.t, p.l.binary, p.l.kubeconfig("web-reader"), fourNodes...)
	defer end()
	tab := p.Tab()
	defer tab.Close()
	tab.Open(address)
	tab.Sees(countSeen, "5 of 5 nodes")
	tab.Sees(`[...document.getElementById("notices").children].map(n => n.textContent.split(",")[0]).join("; ")`,
		"Versions cannot be shown; Leases cannot be shown; Identities and join tokens cannot be shown; Requests for a token cannot be shown; Events cannot be shown; Whether a node is blocked cannot be shown")
	tab.Sees(`document.getElementById("notices").textContent.includes('User "web-reader" cannot list resource "events"')`, "true")
}
