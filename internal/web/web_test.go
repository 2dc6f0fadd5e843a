package web

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	v1 "multinicd/api/v1"
	"multinicd/internal/web/webtest"
)

// away is an API server that nobody serves.
var away = &rest.Config{Host: "http://127.0.0.1:1"}

var now = time.Now()

// patience only ends a test that hangs.
const patience = 2 * time.Minute

// serve runs Serve until the test ends, and gives the address. end ends it and waits.
func serve(t *testing.T, o Options) (address string, end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan string, 1), make(chan error, 1)
	go func() { done <- Serve(ctx, o, func(a string) { ready <- a }) }()
	end = func() {
		cancel()
		if err, open := <-done; open && err != nil {
			t.Errorf("serving ended with %v", err)
			close(done)
		}
	}
	select {
	case address = <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	return address, end
}

// page is an open stream, as a browser has it.
type page struct {
	t      *testing.T
	events chan event
	cancel func()
	bytes  int
	mark   string
}

type event struct {
	name, mark, data string
	bytes            int
}

func open(t *testing.T, address, query string) *page {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	base, _, _ := strings.Cut(address, "?")
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"stream?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := (&http.Client{Transport: &http.Transport{}}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if got := answer.Header.Get("Content-Type"); answer.StatusCode != http.StatusOK || got != "text/event-stream" {
		t.Fatalf("the stream is %s, %s", answer.Status, got)
	}
	p := &page{t: t, events: make(chan event), cancel: cancel}
	gone := ctx.Done()
	go func() {
		defer close(p.events)
		defer answer.Body.Close()
		lines := bufio.NewReaderSize(answer.Body, 1<<20)
		var e event
		for {
			text, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			e.bytes += len(text)
			field, value, _ := strings.Cut(strings.TrimSuffix(text, "\n"), ": ")
			switch field {
			case "event":
				e.name = value
			case "id":
				e.mark = value
			case "data":
				e.data = value
			case "":
				if e.name != "" {
					select {
					case p.events <- e:
					case <-gone:
						return
					}
				}
				e = event{}
			}
		}
	}()
	t.Cleanup(cancel)
	return p
}

// next is the next message of that name; others are left out.
func (p *page) next(name string) event {
	p.t.Helper()
	late := time.After(patience)
	for {
		select {
		case e, ok := <-p.events:
			if !ok {
				p.t.Fatalf("the stream ended before a message %q", name)
			}
			p.bytes += e.bytes
			if e.mark != "" {
				p.mark = e.mark
			}
			if e.name == name {
				return e
			}
		case <-late:
			p.t.Fatalf("there is no message %q", name)
		}
	}
}

// rows are what one or several messages of the table say together.
type rows struct {
	reset bool
	rows  map[string]Row
	order []string
	gone  []string
}

func (p *page) rows() rows {
	p.t.Helper()
	out := rows{rows: map[string]Row{}}
	for {
		var m struct {
			Reset, More bool
			Rows        []Row
			Gone        []string
		}
		if err := json.Unmarshal([]byte(p.next("fleet").data), &m); err != nil {
			p.t.Fatal(err)
		}
		out.reset = out.reset || m.Reset
		out.gone = append(out.gone, m.Gone...)
		for _, r := range m.Rows {
			out.rows[r.Node] = r
			out.order = append(out.order, r.Node)
		}
		if !m.More {
			return out
		}
	}
}

// notices waits until the sentences have each of these words, and there are as many.
func (p *page) notices(words ...string) {
	p.t.Helper()
	for {
		var got []Notice
		if err := json.Unmarshal([]byte(p.next("notices").data), &got); err != nil {
			p.t.Fatal(err)
		}
		all := fmt.Sprint(got)
		missing := len(got) != len(words)
		for _, w := range words {
			missing = missing || !strings.Contains(all, w)
		}
		if !missing {
			return
		}
		p.t.Logf("so far: %s", all)
	}
}

func TestTheTableSaysHowNodesAre(t *testing.T) {
	t.Parallel()
	api := webtest.New(t)
	api.Put(webtest.Fleet(t, 100, now)...)
	address, end := serve(t, Options{Config: api.Config(), Filters: url.Values{"state": {"Failed"}}})
	defer end()
	if !strings.HasPrefix(address, "http://127.0.0.1:") || !strings.HasSuffix(address, "/?state=Failed") {
		t.Errorf("the address is %s", address)
	}
	got := open(t, address, "").rows()
	if !got.reset || len(got.rows) != 100 || len(got.gone) != 0 {
		t.Fatalf("the first answer has %d nodes", len(got.rows))
	}
	for i, want := range map[int]Row{
		0:  {State: "Configured", Ready: "True", Reason: "AllInterfacesConfigured", NICs: "2/2", Changed: now.Unix()},
		13: {State: "Failed", Ready: "False", Reason: "InterfacesFailed", NICs: "1/2", Degraded: "InterfacesFailed", Message: "1 of 2 interfaces configured; multinic2: NameTaken: another link is called multinic2", Others: []string{"NameTaken"}, Changed: now.Add(-13 * time.Minute).Unix()},
		59: {State: "InProgress", Ready: "False", Reason: "DriftFighting", NICs: "1/2", Degraded: "DriftFighting", Drift: []string{"multinic2"}, Message: "1 of 2 interfaces configured; multinic2: DriftFighting: another writer keeps changing the NIC", Changed: now.Add(-59 * time.Minute).Unix()},
		83: {State: "InProgress", Ready: "False", Reason: "Applying", NICs: "2/2", Message: "the node works on generation 4", Changed: now.Add(-83 * time.Minute).Unix()},
	} {
		want.Node, want.Version = webtest.NodeName(i), "0.2.0"
		if diff := cmp.Diff(want, got.rows[want.Node]); diff != "" {
			t.Errorf("%s (-want +got)\n%s", want.Node, diff)
		}
	}
}

func TestOnlyWhatChangedIsSent(t *testing.T) {
	t.Parallel()
	api := webtest.New(t)
	api.Put(webtest.Fleet(t, 20, now)...)
	address, end := serve(t, Options{Config: api.Config()})
	defer end()
	first, second := open(t, address, ""), open(t, address, "")
	if n := len(first.rows().rows) + len(second.rows().rows); n != 40 {
		t.Fatalf("two pages have %d rows", n)
	}
	for _, resource := range []string{"multinicnodeconfigs", "configmaps", "leases"} {
		if n := api.Calls("watch " + resource); n > 2 { // ConfigMaps: reports, and the list of blocked nodes
			t.Errorf("two pages watch %s %d times", resource, n)
		}
	}

	// A Lease changes no row: the next message is the one after it.
	api.Put(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: v1.NodesNamespace, Name: v1.LeaseName(webtest.NodeName(7)), Labels: map[string]string{v1.ComponentLabel: v1.ComponentLease}}, Spec: coordinationv1.LeaseSpec{RenewTime: new(metav1.NewMicroTime(now))}})
	object := webtest.Object(7, now)
	object.Status.State = v1.StateFailed
	api.Put(object)
	for _, p := range []*page{first, second} {
		if got := p.rows(); got.reset || fmt.Sprint(got.order, got.gone) != "[worker-00007] []" || got.rows["worker-00007"].State != "Failed" {
			t.Errorf("one change is told as %+v", got)
		}
	}
	mark := second.mark
	second.cancel()

	api.Delete(webtest.Node(t, 3, now)...)
	api.Put(webtest.Node(t, 20, now)...)
	all := rows{rows: map[string]Row{}}
	for len(all.gone) == 0 || len(all.rows) == 0 {
		got := first.rows()
		all.gone = append(all.gone, got.gone...)
		all.order = append(all.order, got.order...)
		for name, r := range got.rows {
			all.rows[name] = r
		}
	}
	if all.reset || all.gone[0] != "worker-00003" || all.rows["worker-00020"].Node == "" {
		t.Errorf("a node goes and one comes: %+v", all)
	}

	// A page that comes back gets what it has missed; one of another process gets all.
	back := open(t, address, "since="+mark).rows()
	if back.reset || len(back.rows) != 1 || fmt.Sprint(back.gone) != "[worker-00003]" {
		t.Errorf("the page that comes back gets %+v", back)
	}
	for _, unknown := range []string{"since=ANOTHER1.3", "since=" + strings.Replace(mark, ".", ".99", 1), "since=nonsense"} {
		if got := open(t, address, unknown).rows(); !got.reset || len(got.rows) != 20 {
			t.Errorf("%s gets reset %t and %d rows", unknown, got.reset, len(got.rows))
		}
	}
}

// The numbers stand in docs/fleet.md.
func TestTenThousandNodes(t *testing.T) {
	nodes := 10_000
	if testing.Short() {
		nodes = 1_000
	}
	api := webtest.New(t)
	api.Put(webtest.Fleet(t, nodes, now)...)
	address, end := serve(t, Options{Config: api.Config()})
	defer end()
	begin := time.Now()
	p := open(t, address, "")
	if got := len(p.rows().rows); got != nodes {
		t.Fatalf("%d rows", got)
	}
	t.Logf("%d nodes: all rows after %s, %d bytes", nodes, time.Since(begin).Round(time.Millisecond), p.bytes)
	if most := 200 * nodes; p.bytes > most {
		t.Errorf("the first answer has %d bytes, want %d at most", p.bytes, most)
	}
	p.bytes = 0
	object := webtest.Object(7, now)
	object.Status.State = v1.StateFailed
	api.Put(object)
	if got := p.rows(); len(got.rows) != 1 || got.reset {
		t.Errorf("one change gives %d rows", len(got.rows))
	}
	t.Logf("one change: %d bytes", p.bytes)
	if p.bytes > 400 {
		t.Errorf("one change has %d bytes", p.bytes)
	}
	begin = time.Now()
	again := open(t, address, "")
	again.rows()
	t.Logf("a second page has all rows after %s", time.Since(begin).Round(time.Millisecond))
}

func TestAnAPIServerThatIsAwayIsSaid(t *testing.T) {
	t.Parallel()
	api := webtest.New(t)
	api.Put(webtest.Fleet(t, 3, now)...)
	address, end := serve(t, Options{Config: api.Config()})
	defer end()
	p := open(t, address, "")
	p.rows()
	api.Stop()
	p.notices("The API server does not answer")
	late := open(t, address, "") // a page that comes now sees what is known
	late.notices("may be old")
	if got := late.rows(); len(got.rows) != 3 {
		t.Errorf("a page that comes meanwhile has %d rows", len(got.rows))
	}
	api.Start()
	p.notices()
	api.Put(webtest.Node(t, 3, now)...)
	if got := p.rows(); len(got.rows) != 1 {
		t.Errorf("afterwards a change gives %d rows", len(got.rows))
	}
}

func TestRightsThatAreMissingAreSaid(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		refused []string
		nodes   int
		words   []string
	}{
		{"no Events and no requests", []string{"list events", "watch events", "list nodetokenrequests", "watch nodetokenrequests"}, 3,
			[]string{"Events cannot be shown", "Requests for a token cannot be shown"}},
		{"no objects", []string{"list multinicnodeconfigs", "watch multinicnodeconfigs"}, 0, []string{`Nodes cannot be shown, because you may not read MultiNicNodeConfigs in multinic-system: multinicnodeconfigs is forbidden: User "reader" cannot list`}},
		{"objects may be listed, not watched", []string{"watch multinicnodeconfigs"}, 3, []string{"Changes of MultiNicNodeConfigs in multinic-system are seen every half a minute only"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			api := webtest.New(t)
			api.Put(webtest.Fleet(t, 3, now)...)
			api.Refuse(row.refused...)
			address, end := serve(t, Options{Config: api.Config()})
			defer end()
			p := open(t, address, "")
			if got := p.rows(); len(got.rows) != row.nodes {
				t.Errorf("the table has %d nodes, want %d", len(got.rows), row.nodes)
			}
			open(t, address, "").notices(row.words...)
			// The reflector waits before it asks again: what would spin asks thousands of times here.
			time.Sleep(2 * time.Second)
			for _, words := range row.refused {
				if n := api.Calls(words); n > 6 {
					t.Errorf("%s: asked %d times within seconds", words, n)
				}
			}
		})
	}
}

func TestNobodyIsAskedWhileNoPageIsOpen(t *testing.T) {
	t.Parallel()
	api := webtest.New(t)
	api.Put(webtest.Fleet(t, 3, now)...)
	h, err := newHub(api.Config(), nil)
	if err != nil {
		t.Fatal(err)
	}
	h.linger = 10 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	defer h.rest()
	defer cancel()
	h.life = ctx
	time.Sleep(50 * time.Millisecond) // nothing is to happen meanwhile
	if n := api.Calls("watch multinicnodeconfigs") + api.Calls("list multinicnodeconfigs"); n != 0 {
		t.Errorf("asked %d times without a page", n)
	}
	running := func() bool { h.mu.Lock(); defer h.mu.Unlock(); return h.stop != nil }
	for opened := range 2 {
		h.enter()
		until(t, "the fleet is read", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return h.settled() && len(h.rows) == 3 })
		// The watch comes behind the list.
		until(t, "the fleet is watched", func() bool { return api.Calls("watch multinicnodeconfigs") > opened })
		h.leave()
		until(t, "the watches end", func() bool { return !running() })
	}
	if n := api.Calls("watch multinicnodeconfigs"); n != 2 {
		t.Errorf("watched %d times, want once for each time that a page was open", n)
	}
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for late := time.Now().Add(patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("it never came true that %s", what)
		}
	}
}

func TestItEndsWhenItIsTold(t *testing.T) {
	t.Parallel()
	api := webtest.New(t)
	api.Put(webtest.Fleet(t, 3, now)...)
	for name, cfg := range map[string]*rest.Config{"a cluster": api.Config(), "an API server that is away": away} {
		t.Run(name, func(t *testing.T) {
			address, end := serve(t, Options{Config: cfg})
			p := open(t, address, "")
			p.next("notices")
			if name != "a cluster" {
				time.Sleep(2 * time.Second) // the reflectors wait for their next try now
			}
			begin, said := time.Now(), make(chan bool)
			go func() {
				defer close(said)
				for e := range p.events {
					if e.name == "bye" {
						said <- true
						return
					}
				}
			}()
			ended := make(chan struct{})
			go func() { defer close(ended); end() }()
			if !<-said {
				t.Error("the page does not hear of it")
			}
			<-ended
			if took := time.Since(begin); took > ending {
				t.Errorf("it took %s", took)
			}
			if answer, err := http.Get(address); err == nil {
				answer.Body.Close()
				t.Error("somebody still answers")
			}
		})
	}
	if err := Serve(t.Context(), Options{Config: away, Port: 1 << 20}, func(string) {}); err == nil {
		t.Error("a port that cannot be had is no error")
	}
}
