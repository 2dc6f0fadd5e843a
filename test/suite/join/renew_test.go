package join

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"multinicd/internal/kube"
	"multinicd/test/bed"
	"multinicd/test/bed/product"
)

// wantRenewal renews a copy of the node's credential in this process, whose clock is put forward by 55 minutes: the API server
// must give another token, bound as it should be, and take it.
func (n *node) wantRenewal(bound string) {
	t := n.c.t
	t.Helper()
	dir := product.Folder(t.TempDir())
	for name, text := range map[string]string{"server": n.c.URL, "ca.crt": string(n.c.CA), "token": n.token()} {
		if err := dir.Write(name, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	var ahead atomic.Int64
	client, err := kube.New(kube.Options{Node: n.name, CredentialDir: string(dir), Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdle()
	if o := client.Get(t.Context()); o.Err != nil { // the API server's clock is known from here on
		t.Fatal(o.Err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	kept := make(chan struct{})
	told := make(chan kube.Kept, 100)
	go func() {
		defer close(kept)
		if err := client.Keep(ctx, kube.Keeping{Store: dir, Notify: func(k kube.Kept) { told <- k }}); !errors.Is(err, context.Canceled) {
			t.Errorf("keeping the credential ended with %v", err)
		}
	}()
	defer func() { cancel(); <-kept }()
	<-told
	ahead.Store(int64(55 * time.Minute))
	old := n.token()
	var token string
	bed.Eventually(t, "the token of "+n.name, "renewed", func() string {
		text, err := os.ReadFile(filepath.Join(string(dir), "token"))
		if token = strings.TrimSpace(string(text)); err != nil || token == old || token == "" {
			return "the old one"
		}
		return "renewed"
	})
	n.tokens[token] = true
	if got := n.c.ask(token); got != "200 OK" {
		t.Errorf("the API server answers the new token with %s", got)
	}
	text, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims struct {
		Bound struct {
			Node   *struct{} `json:"node"`
			Secret *struct{} `json:"secret"`
		} `json:"kubernetes.io"`
		Issued int64 `json:"iat"`
		Ends   int64 `json:"exp"`
	}
	if err := json.Unmarshal(text, &claims); err != nil {
		t.Fatal(err)
	}
	if (claims.Bound.Node != nil) != (bound == "Node") || (claims.Bound.Secret != nil) != (bound == "Secret") || claims.Ends-claims.Issued > 3600 {
		t.Errorf("the new token is bound to node %v, secret %v, for %d s; want %s, an hour", claims.Bound.Node != nil, claims.Bound.Secret != nil, claims.Ends-claims.Issued, bound)
	}
}
