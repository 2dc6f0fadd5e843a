package main

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"multinicd/host"
	"multinicd/internal/config"
	"multinicd/internal/hosttest"
	"multinicd/internal/kube"
	"multinicd/internal/node"
)

// The token counts as it is at the moment: a node that joins again under its right name is in doubt no more.
func TestATokenOfAnotherNodeIsSaidUntilTheNodeJoinsAgain(t *testing.T) {
	h, err := host.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w := &wired{cfg: config.Default(), host: h, name: node.Names{Host: node.Said{Name: "worker-1.novalocal", Evidence: "the host's name"}}.Choose()}
	join := func(name string) {
		claims := `{"sub":"system:serviceaccount:multinic-nodes:multinic-node-` + name + `"}`
		hosttest.Files(t, h.Root, map[string]string{w.tokenFile(): "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln\n"})
	}
	for _, step := range []struct{ joined, says string }{
		{"", ""},
		{"worker-1", `the token in /var/lib/multinicd/credential/token is node worker-1's`},
		{"worker-1.novalocal", ""},
	} {
		if step.joined != "" {
			join(step.joined)
		}
		if got := w.doubtLine(); !strings.Contains(got, step.says) || (got == "") != (step.says == "") {
			t.Errorf("joined as %q it says %q, want %q", step.joined, got, step.says)
		}
	}
	join("worker-1")
	w.job = "job-1" // whose Pod has a credential of its own
	if got := w.doubtLine(); got != "" {
		t.Errorf("in a Job it says %q", got)
	}
}

func TestARefusalNamesTheOtherNode(t *testing.T) {
	said := errors.New("multinicnodeconfigs.multinic.io \"x\" is forbidden")
	refused := &kube.Error{Class: kube.Forbidden, Op: "reading", Err: said}
	if got := ofAnother(refused, "x"); !errors.Is(got, said) || !strings.HasPrefix(got.Error(), "the credential here may not read the object of x: ") {
		t.Errorf("got %v", got)
	}
	if got := ofAnother(said, "x"); got.Error() != said.Error() {
		t.Errorf("any other error becomes %v", got)
	}
}
