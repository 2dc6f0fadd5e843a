package web

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
)

// hub is the one copy of the fleet, for all pages. It watches the API server only while a page is
// open.
//
// Every row has the number of its last change. A page says up to which number it knows the fleet,
// and gets the rows with a greater one: so a slow page misses nothing, and nothing is queued for it.
type hub struct {
	client client.WithWatch
	kinds  [sourceCount]kind
	all    bool            // objects are not chosen by labels
	life   context.Context // of the watches
	linger time.Duration   // how long they go on after the last page: one that is loaded again finds them

	mu      sync.Mutex
	pages   int
	stop    func()      // ends the watches and waits for them; nil if there are none
	idle    *time.Timer // calls stop
	kept    [sourceCount]map[string]entry
	trouble [sourceCount]trouble

	epoch   string // of seq
	seq     uint64 // number of the last change of a row
	rows    map[string]row
	gone    []parted          // the last rows that went, oldest first
	forgot  uint64            // the number of the last row that went and is in gone no more
	touched map[string]uint64 // by node: how often anything about it was written
	common  uint64            // the same of what is about no single node, and of notices
	changed chan struct{}     // is closed at the next change
}

// entry is what a source has under one name.
type entry struct {
	node  string
	value any
}

// row is what the table has of a node.
type row struct {
	seq  uint64
	json []byte
}

// parted is a row that went.
type parted struct {
	seq  uint64
	node string
}

// mostParted bounds gone. A page that was away for longer gets all rows anew.
const mostParted = 10_000

func newHub(cfg *rest.Config, selector labels.Selector) (*hub, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("setting up a client: %w", err)
		}
	}
	cfg = rest.CopyConfig(cfg)
	cfg.Timeout = 0 // a watch stays open
	c, err := client.NewWithWatch(cfg, client.Options{Scheme: scheme, Mapper: mapper()})
	if err != nil {
		return nil, fmt.Errorf("setting up a client: %w", err)
	}
	h := &hub{client: c, kinds: kinds(selector), all: selector == nil || selector.Empty(), life: context.Background(), linger: 30 * time.Second,
		epoch: rand.Text()[:8], rows: map[string]row{}, touched: map[string]uint64{}, changed: make(chan struct{})}
	for source := range h.kept {
		h.kept[source] = map[string]entry{}
	}
	return h, nil
}

// enter begins a page. The first one starts the watches.
func (h *hub) enter() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pages++
	if h.idle != nil {
		h.idle.Stop()
		h.idle = nil
	}
	if h.stop != nil {
		return
	}
	for source := range h.trouble {
		h.trouble[source] = trouble{read: h.trouble[source].read}
	}
	ctx, cancel := context.WithCancel(h.life)
	var running sync.WaitGroup
	for source := range sourceCount {
		running.Go(func() { h.follow(ctx, source) })
	}
	h.stop = func() { cancel(); running.Wait() }
}

// leave ends a page.
func (h *hub) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pages--; h.pages == 0 {
		h.idle = time.AfterFunc(h.linger, h.rest)
	}
}

// rest ends the watches, unless a page is open and its time has not ended.
func (h *hub) rest() {
	h.mu.Lock()
	if h.pages > 0 && h.life.Err() == nil || h.stop == nil {
		h.mu.Unlock()
		return
	}
	stop := h.stop
	h.stop = nil
	if h.idle != nil {
		h.idle.Stop()
	}
	h.mu.Unlock()
	stop()
}

// put takes one object over.
func (h *hub) put(source int, o any) error {
	object, ok := o.(client.Object)
	if !ok {
		return fmt.Errorf("reading %s: got a %T", h.kinds[source].what, o)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.keep(source, object)
	h.wake()
	return nil
}

func (h *hub) keep(source int, object client.Object) {
	node, value := h.kinds[source].take(object)
	if value == nil {
		return
	}
	h.kept[source][object.GetName()] = entry{node, value}
	h.touch(node)
}

// drop forgets one object.
func (h *hub) drop(source int, name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forget(source, name)
	h.wake()
}

func (h *hub) forget(source int, name string) {
	e, ok := h.kept[source][name]
	if !ok {
		return
	}
	delete(h.kept[source], name)
	h.touch(e.node)
}

// replace takes all objects of a source over.
func (h *hub) replace(source int, all []any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trouble[source].answered, h.trouble[source].read = true, true
	there := make(map[string]bool, len(all))
	for _, o := range all {
		if object, ok := o.(client.Object); ok {
			there[object.GetName()] = true
			h.keep(source, object)
		}
	}
	for name := range h.kept[source] {
		if !there[name] {
			h.forget(source, name)
		}
	}
	if source == objects { // now it is known which nodes have none
		for _, other := range []int{reports, leases} {
			for _, e := range h.kept[other] {
				if _, has := h.kept[objects][e.node]; !has {
					h.touch(e.node)
				}
			}
		}
	}
	h.wake()
}

// touch brings the row of a node up to date. It holds that nothing is sent because of what does not
// change a row.
func (h *hub) touch(node string) {
	if node == "" {
		h.common++
		return
	}
	h.touched[node]++
	r, there := h.rowOf(node)
	before, was := h.rows[node]
	if !there {
		delete(h.touched, node)
		if was {
			h.seq++
			delete(h.rows, node)
			h.gone = append(h.gone, parted{h.seq, node})
			if over := len(h.gone) - mostParted; over > 0 {
				h.forgot = h.gone[over-1].seq
				h.gone = slices.Delete(h.gone, 0, over)
			}
		}
		return
	}
	data, err := json.Marshal(r)
	if err != nil || was && bytes.Equal(before.json, data) {
		return // strings and numbers are always encoded
	}
	h.seq++
	h.rows[node] = row{h.seq, data}
}

// wake has all streams look again.
func (h *hub) wake() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// settled is true once objects and reports were read, or cannot be read.
func (h *hub) settled() bool { return h.trouble[objects].answered && h.trouble[reports].answered }

// news are the rows since a number, by the node's name, and the nodes that went.
func (h *hub) news(since uint64) (rows []json.RawMessage, gone []string) {
	for _, node := range slices.Sorted(maps.Keys(h.rows)) {
		if r := h.rows[node]; r.seq > since {
			rows = append(rows, r.json)
		}
	}
	for _, p := range h.gone {
		if _, back := h.rows[p.node]; p.seq > since && !back {
			gone = append(gone, p.node)
		}
	}
	return rows, gone
}
