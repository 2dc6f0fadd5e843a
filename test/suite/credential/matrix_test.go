package credential

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"multinicd/test/bed"
)

//go:generate go test . -run TestSecurityPageHoldsTheMatrix -update

var update = flag.Bool("update", false, "write the generated table of docs/security.md anew")

var words = map[byte]string{'y': "yes", '-': "–", 'p': "*refused*"}

// page is the two tables as they stand in docs/security.md.
func page() string {
	return page1(matrix) + "\nWith Jobs (`deploy/jobs.yaml`) these lines are so:\n\n" + page1(matrixWithJobs)
}

func page1(lines []attempt) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| what | verb | %s |\n|---|---|%s\n", strings.Join(identities, " | "), strings.Repeat("---|", len(identities)))
	for _, a := range lines {
		fmt.Fprintf(&b, "| %s | %s |", a.object, a.verbs)
		for i := range identities {
			fmt.Fprintf(&b, " %s |", words[a.want[i]])
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestSecurityPageHoldsTheMatrix(t *testing.T) {
	const begin, end = "<!-- matrix: written by make generate -->\n", "<!-- end of matrix -->\n"
	path := bed.Path(t, "docs/security.md")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(data), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("docs/security.md has lost its markers %q and %q", begin, end)
	}
	want := head + begin + page() + end + tail
	if *update {
		if want != string(data) {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	if diff := cmp.Diff(want, string(data)); diff != "" {
		t.Errorf("docs/security.md is stale, run make generate (-want +got):\n%s", diff)
	}
}

// What the table names is named with every verb that there is for it.
func TestTheMatrixLeavesNoVerbOut(t *testing.T) {
	tried := map[string]map[string]bool{}
	for _, a := range slices.Concat(matrix, matrixWithJobs) {
		object := a.object
		if base, ok := baseOf(object); ok {
			object = base
		}
		if tried[object] == nil {
			tried[object] = map[string]bool{}
		}
		_, path := paths[object]
		if _, ok := targets[object]; !ok && !path && !strings.HasPrefix(object, "NodeTokenRequest ") && !strings.HasPrefix(object, "token of A") {
			t.Errorf("%q stands for nothing", object)
		}
		for verb := range strings.SplitSeq(a.verbs, ", ") {
			tried[object][verb] = true
		}
	}
	for name, tg := range targets {
		for _, verb := range verbsOf(tg) {
			if !tried[name][verb] {
				t.Errorf("%s %s is not tried", verb, name)
			}
		}
	}
	if len(targets) < 60 {
		t.Errorf("there are %d targets", len(targets))
	}
}

// verbsOf are the verbs that a target must be tried with.
func verbsOf(tg target) []string {
	switch {
	case tg.sub == "token", tg.resource.Group == "authentication.k8s.io", tg.resource.Group == "authorization.k8s.io":
		return []string{"create"}
	case tg.resource.Resource == "providers":
		return []string{"publish"}
	case tg.sub == "proxy":
		return []string{"get"}
	case tg.sub == "exec":
		return []string{"get", "create"}
	case tg.sub != "":
		return []string{"get", "update", "patch"}
	case tg.resource.Resource == "signers":
		return []string{"approve", "sign", "attest"}
	case tg.resource.Resource == "users":
		return []string{"impersonate"}
	case tg.kind == "" && tg.name == "": // of all namespaces
		return []string{"list", "watch"}
	case tg.name == "" || strings.HasPrefix(tg.name, newName):
		return []string{"list", "watch", "create", "deletecollection"}
	}
	return []string{"get", "list by name", "watch by name", "update", "patch", "delete"}
}

// The table is tried, line by line, verb by verb, as each identity, with real
// requests; those that write are dry runs, which admission sees like others.
func TestTheMatrixIsTrue(t *testing.T) {
	c := newCluster(t)
	s := newStage(c)
	surprises, requests := 0, 0
	try := func(a attempt) {
		for verb := range strings.SplitSeq(a.verbs, ", ") {
			got, said := s.tryAll(verb, a.object)
			requests += len(identities)
			if got == a.want {
				continue
			}
			surprises++
			t.Errorf("%s %s: got %s, want %s", verb, a.object, got, a.want)
			for i := range identities {
				if got[i] != a.want[i] {
					t.Logf("  %s: %.300s", identities[i], errorText(said[i]))
				}
			}
		}
	}
	for _, a := range matrix {
		try(a)
	}
	s.withJobs()
	for _, a := range matrixWithJobs {
		try(a)
	}
	t.Logf("%d lines, and %d with Jobs, %d requests, %d surprises", len(matrix), len(matrixWithJobs), requests, surprises)
}
