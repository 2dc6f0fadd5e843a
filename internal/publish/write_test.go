package publish

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	v1 "multinicd/api/v1"
)

// troubled is a writer whose reads fail where failing says so. test/suite/intake has the real API server.
func troubled(t *testing.T, failing func() error) *Writer {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
			if err := failing(); err != nil {
				return err
			}
			return c.Get(ctx, key, o, options...)
		},
	}).Build()
	return &Writer{Owner: by, Client: c, Unknown: true, Directory: func(context.Context) (*Directory, error) { return NewDirectory(nil), nil }}
}

func wishes(n int) []Wish {
	var out []Wish
	for i := range n {
		out = append(out, Wish{Node: fmt.Sprintf("turn-%03d", i), Provider: provider, NICs: []v1.Interface{nic("1")}})
	}
	return out
}

// Each call has time for a part of the list only, and even to read what is there already takes more.
func TestEachNodeGetsItsTurnHoweverShortTheTime(t *testing.T) {
	var left atomic.Int64
	var stop context.CancelFunc
	p := troubled(t, func() error {
		if left.Add(-1) < 0 {
			stop()
			return context.DeadlineExceeded
		}
		return nil
	})
	const nodes = 60
	stored := map[string]bool{}
	for range 1000 {
		left.Store(nodes / 3)
		ctx, cancel := context.WithCancel(t.Context())
		stop = cancel
		results, err := p.Publish(ctx, wishes(nodes), false)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		done := 0
		for _, r := range results {
			switch {
			case r.Action != Refused:
				stored[r.Node] = true
				done++
			case r.Reason != NotWritten || !strings.Contains(r.Message, "the time for the request was over"):
				t.Fatalf("%+v", r)
			}
		}
		if done > nodes/3 {
			t.Fatalf("%d of %d were done: this shows nothing", done, nodes)
		}
		if len(stored) == nodes {
			return
		}
	}
	t.Errorf("only %d of %d nodes were ever stored", len(stored), nodes)
}

func TestWhatAPublisherIsToldOfTrouble(t *testing.T) {
	for _, row := range []struct {
		name string
		err  error
		want string
	}{
		{"there is no connection", &url.Error{Op: "Get", URL: "https://10.0.0.1:443/apis", Err: errors.New("dial tcp 10.0.0.1:443: connection refused")}, "the API server cannot be reached"},
		{"there is no time", &url.Error{Op: "Get", URL: "https://10.0.0.1:443/apis", Err: context.DeadlineExceeded}, "the time for the request was over before the node's turn, or the API server did not answer in time"},
		{"something else", errors.New("exceeded quota: multinic"), "reading the object: exceeded quota: multinic"},
	} {
		t.Run(row.name, func(t *testing.T) {
			results, err := troubled(t, func() error { return row.err }).Publish(t.Context(), wishes(1), false)
			if err != nil || results[0].Reason != NotWritten || results[0].Message != row.want {
				t.Errorf("%+v %v, want %s", results, err, row.want)
			}
		})
	}
}

// A publisher whose lists are wrong costs the API server nothing.
func TestABadWishIsRefusedWithoutARequest(t *testing.T) {
	bad := nic("1")
	bad.MACAddress = "02-00"
	w := wishes(1)[0]
	w.NICs = slices.Repeat([]v1.Interface{bad}, 64)
	reads := 0
	results, err := troubled(t, func() error { reads++; return nil }).Publish(t.Context(), []Wish{w}, false)
	if err != nil || results[0].Reason != Invalid || reads > 0 {
		t.Fatalf("%+v %v, %d reads", results, err, reads)
	}
	if m := results[0].Message; strings.Count(m, "\n") != maxErrors || !strings.Contains(m, "more") || !strings.Contains(m, "macAddress 02-00") {
		t.Errorf("it is told:\n%s", m)
	}
}
