package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	v1 "multinicd/api/v1"
)

// The URL of the API server comes from a kubeconfig that somebody else may have made.
func TestTheServersURLIsQuoted(t *testing.T) {
	const server = `https://h/",x]'$(id)#`
	if err := checkServer(server); err != nil {
		t.Fatal(err)
	}
	text, err := cloudConfig("n", time.Now(), v1.JoinFile{Token: "t", CA: []byte("ca\n")}, server, "sha256:0")
	if err != nil {
		t.Fatal(err)
	}
	var data struct {
		Run [][]string `json:"runcmd"`
	}
	if err := yaml.Unmarshal([]byte(text), &data); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	want := [][]string{{"multinicd", "join", "--server", server, "--token-file", cloudFile, "--ca-hash", "sha256:0"}, {"rm", "-f", cloudFile}}
	if diff := cmp.Diff(want, data.Run); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if want := `multinicd join --server 'https://h/",x]'\''$(id)#' --token-file join --ca-hash sha256:0`; !strings.Contains(text, "#   "+want+"\n") {
		t.Errorf("want %s in\n%s", want, text)
	}
	for _, bad := range []string{"http://h", "https://", "h", "https://h/ x", "https://h/\u2028x", "https://h/\nx", "https://h/\u0085x"} {
		if err := checkServer(bad); !errors.Is(err, errUsage) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
