package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/test/bed/artifact"
	"multinicd/test/bed/measure"
	"multinicd/test/bed/product"
	"multinicd/test/bed/sandbox"
)

// published is what it took to publish the lists of some nodes.
type published struct {
	Nodes     int     `json:"nodes"`
	Posts     int     `json:"posts"` // to the door; 0 without it
	Again     int     `json:"again"` // of them, those that were sent again because the time was over
	Seconds   float64 `json:"seconds"`
	Door      float64 `json:"doorCPUSeconds"`
	APIServer float64 `json:"apiServerCPUSeconds"`
	Etcd      float64 `json:"etcdCPUSeconds"`
	Requests  int     `json:"requests"` // to the API server, of the door or of who writes without it
	DoorMost  float64 `json:"doorMostMiB"`
	// How long one took of those that are sent one after the other, in ms; 0 where that was not measured.
	P50 float64 `json:"p50Ms,omitempty"`
	P99 float64 `json:"p99Ms,omitempty"`
}

// doors are the results of one run. Each list is published three times: it is new, it is the same, one NIC of each node is another.
type doors struct {
	measure.Stamp
	Cores    int          `json:"cores"`
	NICs     int          `json:"nics"`
	Batch    int          `json:"batch"`
	Direct   [3]published `json:"direct"`
	Few      [3]published `json:"few"`
	Many     [3]published `json:"many"`
	FewAgain published    `json:"fewAgain"` // the same lists as Few has, with all others there
	Single   published    `json:"single"`   // one changed node in each request
}

const (
	doorPage  = "intake"
	doorFew   = 1000 // nodes that the many are compared with
	doorBatch = 1000 // nodes in one request
	doorNICs  = 5    // of each node
	doorOne   = 200  // requests with one node
	atOnce    = 16   // writers without the door, as many as the door has
)

var doorTimes = [3]string{"new", "the same again", "one NIC of each changed"}

// measureDoor is a run of its own, without a bridge: what the HTTP door costs beside a publisher that writes objects itself.
func (f *fleet) measureDoor(ctx context.Context) error {
	res := doors{Cores: runtime.NumCPU(), NICs: doorNICs, Batch: doorBatch}
	f.bridge.Stop()
	if err := product.InstallIntake(ctx, f.cluster); err != nil {
		return err
	}
	binary, err := artifact.BuildCommand(ctx, f.logf, "./cmd/bridge")
	if err != nil {
		return err
	}
	in, err := product.StartIntake(ctx, f.box, f.cluster, binary, "--plain-http", "--allow-anonymous", "--unknown-nodes", "publish", "--rate", "1000", "--burst", "1000")
	if err != nil {
		return err
	}
	d := &doorBench{f: f, in: in}
	for i, when := range doorTimes {
		f.logf("%d nodes without the door: %s", doorFew, when)
		if res.Direct[i], err = d.direct(ctx, "direct", doorFew, 1400+i/2); err != nil {
			return err
		}
	}
	for i, when := range doorTimes {
		f.logf("%d nodes by the door: %s", doorFew, when)
		if res.Few[i], err = d.publish(ctx, "few", doorFew, 1400+i/2); err != nil {
			return err
		}
	}
	for i, when := range doorTimes {
		f.logf("%d nodes by the door: %s", f.size, when)
		if res.Many[i], err = d.publish(ctx, "many", f.size, 1400+i/2); err != nil {
			return err
		}
	}
	f.logf("the first %d again", doorFew)
	if res.FewAgain, err = d.publish(ctx, "few", doorFew, 1401); err != nil {
		return err
	}
	f.logf("%d requests with one node", doorOne)
	if res.Single, err = d.one(ctx, "many", doorOne, 1402); err != nil {
		return err
	}
	if res.Stamp, err = f.End(); err != nil {
		return err
	}
	return f.Write(ctx, res.Stamp, measure.Result{Page: doorPage, Data: res, Text: res.text(), Figures: res.figures()})
}

// doorBench publishes and measures.
type doorBench struct {
	f  *fleet
	in *product.Intake
}

// measured gives what f took.
func (d *doorBench) measured(nodes int, user string, do func(p *published) error) (published, error) {
	p := published{Nodes: nodes}
	pids := []int{d.in.PID(), d.f.cluster.APIServer.PID(), d.f.cluster.Etcd.PID()}
	to := []*float64{&p.Door, &p.APIServer, &p.Etcd}
	for i, pid := range pids {
		before, err := sandbox.Processor(pid)
		if err != nil {
			return p, err
		}
		*to[i] = -before
	}
	begin := time.Now()
	if err := do(&p); err != nil {
		return p, err
	}
	p.Seconds = time.Since(begin).Seconds()
	end := begin.Add(time.Since(begin))
	for i, pid := range pids {
		after, err := sandbox.Processor(pid)
		if err != nil {
			return p, err
		}
		*to[i] += after
	}
	requests, err := d.f.cluster.Requests()
	if err != nil {
		return p, err
	}
	for _, r := range requests {
		if r.User.Username == user && r.ObjectRef.Resource == "multinicnodeconfigs" && !r.Received.Before(begin) && r.Received.Before(end) {
			p.Requests++
		}
	}
	p.DoorMost, err = sandbox.Memory(d.in.PID(), "VmHWM:")
	return p, err
}

// direct has objects written by server-side apply, as a publisher does that speaks to the API server.
func (d *doorBench) direct(ctx context.Context, prefix string, nodes, mtu int) (published, error) {
	account := "system:serviceaccount:" + v1.SystemNamespace + ":multinic-viola"
	cfg := d.f.cluster.Config()
	cfg.Impersonate.UserName, cfg.Impersonate.Groups, cfg.QPS = account, []string{"system:masters"}, -1
	as, err := product.Client(cfg)
	if err != nil {
		return published{}, err
	}
	return d.measured(nodes, "admin", func(*published) error { // who impersonates it, says the audit log
		return together(0, nodes, func(n int) error {
			name := fmt.Sprintf("%s-%05d", prefix, n)
			body, err := json.Marshal(map[string]any{
				"apiVersion": v1.GroupVersion.String(), "kind": v1.NodeConfigKind, "metadata": map[string]any{"name": name, "namespace": v1.SystemNamespace},
				"spec": v1.MultiNicNodeConfigSpec{NodeName: name, ProviderID: "provider-a", Interfaces: nicsOf(n, doorNICs, mtu)},
			})
			if err == nil {
				o := &unstructured.Unstructured{}
				o.SetGroupVersionKind(v1.GroupVersion.WithKind(v1.NodeConfigKind))
				o.SetName(name)
				o.SetNamespace(v1.SystemNamespace)
				err = as.Patch(ctx, o, client.RawPatch(types.ApplyPatchType, body), client.FieldOwner("viola"), client.ForceOwnership)
			}
			return err
		})
	})
}

// together does something for each number, atOnce at a time, and gives the first error. A worker that has met one begins nothing more.
func together(from, to int, do func(n int) error) error {
	errs := make(chan error, atOnce)
	for w := range atOnce {
		go func() {
			for n := from + w; n < to; n += atOnce {
				if err := do(n); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	var first error
	for range atOnce {
		if err := <-errs; first == nil {
			first = err
		}
	}
	return first
}

const doorAccount = "system:serviceaccount:" + v1.SystemNamespace + ":" + v1.PublisherIntake

// publish posts nodes in batches, one after the other, each again until all of it is stored, as the client in the field does after a while.
func (d *doorBench) publish(ctx context.Context, prefix string, nodes, mtu int) (published, error) {
	return d.measured(nodes, doorAccount, func(p *published) error {
		for from := 0; from < nodes; from += doorBatch {
			body, err := doorBody(prefix, from, min(from+doorBatch, nodes), mtu)
			if err != nil {
				return err
			}
			for done := false; !done; {
				p.Posts++
				if done, err = d.post(ctx, body); err != nil {
					return err
				}
				if !done {
					p.Again++
				}
			}
		}
		return nil
	})
}

// one posts some nodes, each in a request of its own.
func (d *doorBench) one(ctx context.Context, prefix string, requests, mtu int) (published, error) {
	var took []time.Duration
	p, err := d.measured(requests, doorAccount, func(p *published) error {
		for n := range requests {
			body, err := doorBody(prefix, n, n+1, mtu)
			if err != nil {
				return err
			}
			p.Posts++
			begin := time.Now()
			done, err := d.post(ctx, body)
			if err == nil && !done {
				err = fmt.Errorf("a single node was not stored in time")
			}
			if err != nil {
				return err
			}
			took = append(took, time.Since(begin))
		}
		return nil
	})
	slices.Sort(took)
	var percentiles phase
	percentiles.took(took)
	p.P50, p.P99 = percentiles.P50, percentiles.P99
	return p, err
}

func doorBody(prefix string, from, to, mtu int) ([]byte, error) {
	var list []v1.MultiNicNodeConfigSpec
	for n := from; n < to; n++ {
		list = append(list, v1.MultiNicNodeConfigSpec{NodeName: fmt.Sprintf("%s-%05d", prefix, n), Interfaces: nicsOf(n, doorNICs, mtu)})
	}
	return json.Marshal(list)
}

// post sends a body, and says whether all of it is stored.
func (d *doorBench) post(ctx context.Context, body []byte) (bool, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+d.in.Address+"//v1/k8s/multinic/node-configs", bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Provider-Id", "provider-a")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return false, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return false, err
	}
	switch response.StatusCode {
	case http.StatusOK:
		if strings.Contains(string(text), `"errors"`) {
			return false, fmt.Errorf("the door refuses nodes: %.300s", text)
		}
		return true, nil
	case http.StatusServiceUnavailable:
		return false, nil
	}
	return false, fmt.Errorf("the door answers %s: %.300s", response.Status, text)
}

func (r doors) text() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("%s. %d NICs a node, %d nodes in a request, on %d cores that everything shares.\n",
		r.Stamp, r.NICs, r.Batch, r.Cores)
	line("| | s by the clock | door's CPU s | API server's CPU s | of etcd | requests to the API server, per node | requests to the door | of them again | API server's CPU ms per node | ratio to without the door |")
	line("|---|---|---|---|---|---|---|---|---|---|")
	each := func(p published) float64 { return p.APIServer * 1000 / float64(p.Nodes) }
	row := func(what string, p, direct published) {
		line("| %s | %.1f | %.1f | %.1f | %.1f | %.2f | %d | %d | %.2f | %.2f |", what, p.Seconds, p.Door, p.APIServer, p.Etcd,
			float64(p.Requests)/float64(p.Nodes), p.Posts, p.Again, each(p), each(p)/each(direct))
	}
	for i, when := range doorTimes {
		row(fmt.Sprintf("%d nodes without the door: %s", r.Direct[i].Nodes, when), r.Direct[i], r.Direct[i])
	}
	for i, when := range doorTimes {
		row(fmt.Sprintf("%d nodes: %s", r.Few[i].Nodes, when), r.Few[i], r.Direct[i])
	}
	for i, when := range doorTimes {
		row(fmt.Sprintf("%d nodes: %s", r.Many[i].Nodes, when), r.Many[i], r.Direct[i])
	}
	line("")
	line("| ratio | |")
	line("|---|---|")
	ratio := func(what string, a, b float64) { line("| %s | %.2f |", what, a/b) }
	for i, when := range doorTimes {
		ratio(fmt.Sprintf("%s: a node among %d to one among %d, API server's CPU", when, r.Many[i].Nodes+r.Few[i].Nodes, r.Few[i].Nodes), each(r.Many[i]), each(r.Few[i]))
	}
	ratio(fmt.Sprintf("the same %d again, with all others there, to without them", r.FewAgain.Nodes), each(r.FewAgain), each(r.Few[1]))
	ratio("the same again to new, API server's CPU", each(r.Many[1]), each(r.Many[0]))
	ratio("the same again to new, by the clock", r.Many[1].Seconds, r.Many[0].Seconds)
	ratio("door's CPU to the API server's, new", r.Many[0].Door, r.Many[0].APIServer)
	ratio("door's CPU to the API server's, the same again", r.Many[1].Door, r.Many[1].APIServer)
	line("")
	line("Memory of the door at most: %.0f MiB with %d nodes, %.0f MiB with %d. One changed node in a request of its own: %.1f ms at p50, %.1f ms at p99, %.2f requests to the API server.",
		r.Few[2].DoorMost, r.Few[2].Nodes, r.Single.DoorMost, r.Many[2].Nodes, r.Single.P50, r.Single.P99, float64(r.Single.Requests)/float64(r.Single.Nodes))
	return b.String()
}

// figures are those that are kept from release to release.
func (r doors) figures() []measure.Figure {
	one := func(p published) float64 { return p.APIServer * 1000 / float64(p.Nodes) }
	return []measure.Figure{
		{Name: "a node is published by the door, API server's CPU", Value: one(r.Many[0]), Unit: "ms"},
		{Name: "a node is published again by the door, API server's CPU", Value: one(r.Many[1]), Unit: "ms"},
		{Name: "the door's memory at most", Value: r.Many[2].DoorMost, Unit: "MiB"},
	}
}
