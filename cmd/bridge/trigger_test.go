package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "multinicd/api/v1"
)

// A whole fleet is asked in a moment, or the first nodes are given up before the last
// ones were asked.
func TestManyNodesAreAskedAtOnce(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusCreated)
			_, _ = io.Copy(w, r.Body)
			return
		}
		_ = json.NewEncoder(w).Encode(metav1.APIResourceList{
			TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: v1.GroupVersion.String(),
			APIResources: []metav1.APIResource{{Name: "multinicnoderuns", SingularName: "multinicnoderun", Namespaced: true, Kind: "MultiNicNodeRun"}},
		})
	}))
	defer server.Close()
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	config := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"x","clusters":[{"name":"x","cluster":{"server":%q}}],"contexts":[{"name":"x","context":{"cluster":"x","user":"x"}}],"users":[{"name":"x","user":{}}]}`, server.URL)
	if err := os.WriteFile(kubeconfig, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := newAdmin(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	var nodes []string
	for i := range 100 {
		nodes = append(nodes, fmt.Sprint("node-", i))
	}
	start := time.Now()
	runs, err := a.makeRuns(t.Context(), nodes, v1.ActionTrigger)
	if err != nil || len(runs) != len(nodes) {
		t.Errorf("%d of %d nodes were asked: %v", len(runs), len(nodes), err)
	}
	if took := time.Since(start); took > 5*time.Second { // five a second take eighteen
		t.Errorf("it took %s", took)
	}
}
