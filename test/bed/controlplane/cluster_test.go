package controlplane

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/sandbox"
)

func start(t *testing.T, o Options) *Cluster {
	t.Helper()
	prerequisite.Require(t)
	box, err := sandbox.New(context.Background(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := box.Close(); err != nil {
			t.Error(err)
		}
		left, err := sandbox.Left(box.ID)
		if err != nil || len(left) > 0 {
			t.Errorf("left behind %q, %v, want nothing", left, err)
		}
	})
	o.Logf = t.Logf
	c, err := Start(t.Context(), box, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAControlPlaneWorks(t *testing.T) {
	c := start(t, Options{APIServerFlags: []string{"--v=1"}, GOGC: InProduction})
	ctx := t.Context()

	t.Run("its programs collect garbage as they are told", func(t *testing.T) {
		for _, p := range []*Program{c.Etcd, c.APIServer} {
			all, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.PID()))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(strings.Split(string(all), "\x00"), "GOGC="+InProduction) {
				t.Errorf("%s has the environment %q, want GOGC=%s in it", p.Name, all, InProduction)
			}
		}
	})

	t.Run("etcd says what it has", func(t *testing.T) {
		const more = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: stored, namespace: default}\ndata: {x: %q}\n"
		before, err := c.Stored(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := c.Apply(ctx, fmt.Sprintf(more, strings.Repeat("x", 5000)), "--server-side"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		after, err := c.Stored(ctx)
		if err != nil {
			t.Fatal(err)
		}
		b, a := before["configmaps"], after["configmaps"]
		if b.Keys == 0 || a.Keys <= b.Keys || a.Bytes-b.Bytes < 5000 || a.Bytes-b.Bytes > 50000 {
			t.Errorf("ConfigMaps before and after one of 5,000 bytes: %+v, %+v", b, a)
		}
	})

	t.Run("kubectl is answered and the audit log says so", func(t *testing.T) {
		out, err := c.Kubectl(ctx, "get", "namespaces", "-o", "name")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out, "namespace/kube-system") {
			t.Errorf("got namespaces %q, want kube-system among them", out)
		}
		requests, err := c.Requests()
		if err != nil {
			t.Fatal(err)
		}
		lists := 0
		for _, r := range requests {
			if r.User.Username == "admin" && strings.HasPrefix(r.UserAgent, "kubectl/") && r.Verb == "list" && r.ObjectRef.Resource == "namespaces" {
				lists++
			}
		}
		if lists != 1 {
			t.Errorf("the audit log has %d lists of namespaces by kubectl, want 1", lists)
		}
	})

	t.Run("controllers run", func(t *testing.T) {
		if c.ControllerManager == nil {
			t.Skip("no kube-controller-manager in KUBEBUILDER_ASSETS")
		}
		if _, err := c.Apply(ctx, `{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "fresh"}}`); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Kubectl(ctx, "wait", "--for=create", "serviceaccount/default", "-n", "fresh", "--timeout=20s"); err != nil {
			t.Error(err)
		}
	})

	t.Run("another user is known but may do nothing", func(t *testing.T) {
		path := t.TempDir() + "/kubeconfig"
		if err := c.WriteKubeconfig(path, "", "nobody-much"); err != nil {
			t.Fatal(err)
		}
		_, err := c.Kubectl(ctx, "--kubeconfig", path, "get", "namespaces")
		if err == nil || !strings.Contains(err.Error(), `User "nobody-much" cannot list resource`) {
			t.Errorf("got error %v, want the user refused by name", err)
		}
	})

	t.Run("the API server can be paused", func(t *testing.T) {
		if err := c.APIServer.Pause(); err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		request, err := http.NewRequestWithContext(short, http.MethodGet, c.URL+"/readyz", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.http.Do(request); err == nil {
			t.Error("a paused API server answered")
		}
		if err := c.APIServer.Resume(); err != nil {
			t.Fatal(err)
		}
		if err := c.Ready(ctx); err != nil {
			t.Fatal(err)
		}
	})

	t.Run("the API server can be killed and comes back with what it had", func(t *testing.T) {
		before := c.APIServer.PID()
		if err := c.APIServer.Kill(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Kubectl(ctx, "get", "namespaces"); err == nil {
			t.Error("a killed API server answered")
		}
		if err := c.Restart(ctx, c.APIServer); err != nil {
			t.Fatal(err)
		}
		if c.APIServer.PID() == before {
			t.Errorf("the API server has its old process id %d", before)
		}
		if _, err := c.Kubectl(ctx, "get", "namespace", "default"); err != nil {
			t.Error(err)
		}
	})

	t.Run("it stops in good order", func(t *testing.T) {
		begin := time.Now()
		if err := c.Stop(); err != nil {
			t.Fatal(err)
		}
		t.Logf("stopped in %.1f s", time.Since(begin).Seconds())
		if _, err := os.Stat(c.dir); !os.IsNotExist(err) {
			t.Errorf("its folder is still there: %v", err)
		}
	})
}

func TestTheUsersOwnBinariesAreUsed(t *testing.T) {
	built, err := Binaries(t.Context(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	assets := t.TempDir()
	t.Setenv("KUBEBUILDER_ASSETS", assets)
	if _, err := Binaries(t.Context(), t.Logf); err == nil {
		t.Error("got no error for a folder without binaries")
	}
	// setup-envtest brings no more than these.
	for _, name := range []string{"etcd", "kube-apiserver", "kubectl"} {
		if err := os.Symlink(filepath.Join(built, name), filepath.Join(assets, name)); err != nil {
			t.Fatal(err)
		}
	}
	c := start(t, Options{})
	if c.ControllerManager != nil || c.Scheduler != nil {
		t.Error("controllers run that nobody brought")
	}
	if filepath.Dir(c.KubectlPath()) != assets {
		t.Errorf("got kubectl %s, want the one in %s", c.KubectlPath(), assets)
	}
	if _, err := c.Kubectl(t.Context(), "get", "namespaces"); err != nil {
		t.Error(err)
	}
}

func TestKeysOfEtcdNameTheirKind(t *testing.T) {
	for key, want := range map[string]string{
		"/registry/configmaps/multinic-nodes/multinic-report-a":                  "configmaps",
		"/registry/multinic.io/multinicnodeconfigs/multinic-system/a":            "multinicnodeconfigs",
		"/registry/apiextensions.k8s.io/customresourcedefinitions/x.multinic.io": "customresourcedefinitions",
		"/registry/minions/a": "minions",
	} {
		if got := kindOf(key); got != want {
			t.Errorf("%s is of %q, want %q", key, got, want)
		}
	}
}
