package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"multinicd/examples"
)

// The URL of the API server comes from a kubeconfig that somebody else may have made.
func TestTheServersURLIsQuoted(t *testing.T) {
	const server = `https://h/",x]'$(id)#`
	if err := checkServer(server); err != nil {
		t.Fatal(err)
	}
	text, err := examples.Join{Node: "n", Server: server, CAHash: "sha256:0", File: []byte("t\nca\n"), Expires: time.Now()}.Fill(examples.JoinToken)
	if err != nil {
		t.Fatal(err)
	}
	var data struct {
		Run [][]string `json:"runcmd"`
	}
	if err := yaml.Unmarshal([]byte(text), &data); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if got := data.Run[0][3]; got != server {
		t.Errorf("got server %s, want %s", got, server)
	}
	if got, want := joinLine(server, "join", "sha256:0"), `multinicd join --server 'https://h/",x]'\''$(id)#' --token-file join --ca-hash sha256:0`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, bad := range []string{"http://h", "https://", "h", "https://h/ x", "https://h/\u2028x", "https://h/\nx", "https://h/\u0085x"} {
		if err := checkServer(bad); !errors.Is(err, errUsage) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// FuzzServer: a URL that is taken comes back from the user data, and from the line for a shell, as it
// was.
func FuzzServer(f *testing.F) {
	f.Add(`https://h/",x]'$(id)#`)
	f.Add("https://[::1]:6443/{{.File}}?a=`b`\\")
	f.Add("https://x/@JOIN_FILE@@NODE@")
	f.Fuzz(func(t *testing.T, server string) {
		if checkServer(server) != nil {
			return
		}
		text, err := examples.Join{Node: "n", Server: server, CAHash: "sha256:0", File: []byte("t\nca\n"), Expires: time.Now()}.Fill(examples.JoinToken)
		if err != nil {
			t.Fatal(err)
		}
		var data struct {
			Run [][]string `json:"runcmd"`
		}
		if err := yaml.Unmarshal([]byte(text), &data); err != nil || len(data.Run) == 0 || len(data.Run[0]) != 10 || data.Run[0][3] != server {
			t.Errorf("%v\n%s", err, text)
		}
		line := joinLine(server, "join", "sha256:0")
		word, ok := strings.CutPrefix(line, "multinicd join --server ")
		word, end := strings.CutSuffix(word, " --token-file join --ca-hash sha256:0")
		if inner, quoted := strings.CutPrefix(word, "'"); quoted {
			word = strings.ReplaceAll(strings.TrimSuffix(inner, "'"), `'\''`, "'")
		} else if !plainWord.MatchString(word) {
			t.Errorf("it is not quoted: %s", line)
		}
		if !ok || !end || word != server || strings.Contains(line, "\n") {
			t.Errorf("the line is %s", line)
		}
	})
}
