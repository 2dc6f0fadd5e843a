package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/test/bed/artifact"
	"multinicd/test/bed/measure"
	"multinicd/test/bed/product"
)

// flooding is what others notice of a node that writes as fast as it is answered, in one run: without a priority level for nodes, and with it.
type flooding struct {
	measure.Stamp
	Cores  int        `json:"cores"`
	AtOnce int        `json:"atOnce"` // requests of the flood
	Quiet  [2]flooded `json:"quiet"`  // without the level, and with it
	Flood  [2]flooded `json:"flood"`
}

// flooded are requests of others, and what was written meanwhile.
type flooded struct {
	Object  phase   `json:"anothersObject"`    // another node reads its object
	Lease   phase   `json:"anothersLease"`     // it renews its Lease
	Bridge  phase   `json:"bridge"`            // the bridge reads an object
	Rate    float64 `json:"answeredPerSecond"` // to the flood: written, or met by another write of it
	Refused int64   `json:"refused"`           // 429, of the flood
}

const (
	floodCables = 8  // connections of the flood,
	floodEach   = 16 // and requests at once on each
	floodFor    = 20 * time.Second
	floodPage   = "flood"
)

// measureFlood is a run of its own, with few nodes.
func (f *fleet) measureFlood(ctx, life context.Context) error {
	res := flooding{Cores: runtime.NumCPU(), AtOnce: floodCables * floodEach}
	if _, err := f.know(ctx, few); err != nil {
		return err
	}
	if _, err := f.join(ctx, life, f.nodes); err != nil {
		return err
	}
	root, err := artifact.RepositoryRoot()
	if err != nil {
		return err
	}
	for i := range res.Flood {
		if i == 1 {
			if out, err := f.cluster.Kubectl(ctx, "apply", "--server-side", "-f", filepath.Join(root, "deploy/apf.yaml")); err != nil {
				return fmt.Errorf("making the priority level: %w\n%s", err, out)
			}
		}
		f.logf("others, with nobody who floods, and then with a node that does")
		if res.Quiet[i], err = f.others(ctx); err != nil {
			return err
		}
		if res.Flood[i], err = f.flood(ctx); err != nil {
			return err
		}
	}
	if res.Stamp, err = f.End(); err != nil {
		return err
	}
	return f.Write(ctx, res.Stamp, measure.Result{Page: floodPage, Data: res, Text: res.text(), Figures: res.figures()})
}

// asker makes requests with one token.
type asker struct {
	client *http.Client
	token  string
}

func (f *fleet) asker(token string) asker {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(f.cluster.CA)
	return asker{&http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}}, strings.TrimSpace(token)}
}

func (f *fleet) nodeAsker(n *node) (asker, error) {
	token, err := os.ReadFile(filepath.Join(n.dir, "token"))
	return f.asker(string(token)), err
}

// ask gives the code of the answer, and how long it took.
func (a asker) ask(ctx context.Context, method, url string, body []byte) (int, time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, 0, err
	}
	req.Header.Set("Authorization", "Bearer "+a.token)
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/merge-patch+json")
	}
	begin := time.Now()
	resp, err := a.client.Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, time.Since(begin), err
}

// others measures another node, and the bridge, for a while.
func (f *fleet) others(ctx context.Context) (flooded, error) {
	var out flooded
	victim := f.nodes[len(f.nodes)-1]
	asNode, err := f.nodeAsker(victim)
	if err != nil {
		return out, err
	}
	token, err := product.Token(ctx, f.cluster, v1.SystemNamespace, v1.BridgeAccount)
	if err != nil {
		return out, err
	}
	asBridge := f.asker(token)
	object := f.cluster.URL + "/apis/multinic.io/v1/namespaces/" + v1.SystemNamespace + "/multinicnodeconfigs/" + victim.name
	lease := f.cluster.URL + "/apis/coordination.k8s.io/v1/namespaces/" + v1.NodesNamespace + "/leases/" + v1.LeaseName(victim.name)
	var took [3][]time.Duration
	for begin := time.Now(); time.Since(begin) < floodFor; {
		now := fmt.Appendf(nil, `{"spec":{"renewTime":%q}}`, time.Now().UTC().Format("2006-01-02T15:04:05.000000Z"))
		for i, q := range []struct {
			as          asker
			method, url string
			body        []byte
		}{{asNode, http.MethodGet, object, nil}, {asNode, http.MethodPatch, lease, now}, {asBridge, http.MethodGet, object, nil}} {
			code, d, err := q.as.ask(ctx, q.method, q.url, q.body)
			if err != nil {
				return out, err
			}
			if code != http.StatusOK {
				return out, fmt.Errorf("%s %s: %d", q.method, q.url, code)
			}
			took[i] = append(took[i], d)
		}
		if err := measure.Rest(ctx, 20*time.Millisecond); err != nil {
			return out, err
		}
	}
	for i, p := range []*phase{&out.Object, &out.Lease, &out.Bridge} {
		p.Things = len(took[i])
		p.took(took[i])
	}
	return out, nil
}

// flood is others while the first node writes its report as fast as it is answered.
func (f *fleet) flood(ctx context.Context) (flooded, error) {
	thief := f.nodes[0]
	url := f.cluster.URL + "/api/v1/namespaces/" + v1.NodesNamespace + "/configmaps/" + v1.ReportName(thief.name)
	filler := strings.Repeat("x", 30<<10)
	end, stop := context.WithCancel(ctx)
	defer stop()
	var answered, refused atomic.Int64
	var all sync.WaitGroup
	for range floodCables {
		as, err := f.nodeAsker(thief)
		if err != nil {
			return flooded{}, err
		}
		for range floodEach {
			all.Go(func() {
				for n := 0; end.Err() == nil; n++ {
					code, _, err := as.ask(end, http.MethodPatch, url, fmt.Appendf(nil, `{"data":{%q:%q}}`, v1.ReportKey, fmt.Sprint(filler, n)))
					switch {
					case err != nil:
					case code == http.StatusTooManyRequests:
						refused.Add(1)
					default:
						answered.Add(1)
					}
				}
			})
		}
	}
	if err := measure.Rest(ctx, 2*time.Second); err != nil { // until all of them are at it
		return flooded{}, err
	}
	before, begin := answered.Load(), time.Now()
	out, err := f.others(ctx)
	out.Rate, out.Refused = float64(answered.Load()-before)/time.Since(begin).Seconds(), refused.Load()
	stop()
	all.Wait()
	return out, err
}

func (r flooding) text() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("%s. On %d cores that everything shares. The flood is %d requests at once, with one node's token.\n",
		r.Stamp, r.Cores, r.AtOnce)
	line("| | | p50 ms | p99 ms | p50 under the flood | p99 under the flood | ratio of p50 | ratio of p99 |")
	line("|---|---|---|---|---|---|---|---|")
	for i, level := range []string{"without the level", "with `apf.enabled`"} {
		q, f := r.Quiet[i], r.Flood[i]
		for _, row := range []struct {
			who          string
			quiet, flood phase
		}{{"another node reads its object", q.Object, f.Object}, {"another node renews its Lease", q.Lease, f.Lease}, {"the bridge reads an object", q.Bridge, f.Bridge}} {
			line("| %s | %s | %.1f | %.1f | %.1f | %.1f | %.1f | %.1f |", level, row.who, row.quiet.P50, row.quiet.P99, row.flood.P50, row.flood.P99,
				row.flood.P50/row.quiet.P50, row.flood.P99/row.quiet.P99)
		}
	}
	line("")
	line("| | answers a second to the flood | refused (429) | requests of another node that were measured, quiet and under the flood |")
	line("|---|---|---|---|")
	for i, level := range []string{"without the level", "with `apf.enabled`"} {
		line("| %s | %.0f | %d | %d, %d |", level, r.Flood[i].Rate, r.Flood[i].Refused, r.Quiet[i].Object.Things, r.Flood[i].Object.Things)
	}
	return b.String()
}

// figures are those that are kept from release to release.
func (r flooding) figures() []measure.Figure {
	return []measure.Figure{{Name: "another node's request under a flood, with apf.enabled, p50", Value: r.Flood[1].Object.P50 / r.Quiet[1].Object.P50, Unit: "times"}}
}
