package credential

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"multinicd/test/bed"
)

//go:generate go test . -run TestSecurityPageHoldsTheMatrix -update

var update = flag.Bool("update", false, "write the generated table of docs/security.md anew")

// identities are the columns of the matrix, in order.
var identities = []string{"node A", "A's join token", "kubelet of A", "publisher", "bridge", "anonymous"}

// attempt is a line of the matrix: what is tried, and how it goes for each of
// the identities, in order: y it is done; - no right to it; p admission refuses
// it, or the API server's own rules.
type attempt struct {
	object string
	verbs  string // separated by ", "
	want   string
}

// Node A has joined and has a Node and an object, so has B. The names of objects
// and verbs lead to what is requested: see target and try.
var matrix = []attempt{
	//                                                                          NJKPBA
	{"object A", "get, list by name, watch by name", "y--yy-"},
	{"object A", "update, patch, delete", "---y--"},
	{"object A", "deletecollection", "------"},
	{"object B", "get, list by name, watch by name", "---yy-"},
	{"object B", "update, patch, delete", "---y--"},
	{"objects", "list, watch", "---yy-"},
	{"a new object", "create", "---y--"},
	{"status of object A", "patch", "----y-"},
	{"status of object A", "get, update", "------"},
	{"status of object B", "patch", "----y-"},
	{"old object (MultiNicBizConfig)", "get, list, create", "------"},

	{"report A", "get, patch, update", "y---y-"},
	{"report A with another key", "patch", "p---y-"},
	{"report A with binary data", "patch", "p---y-"},
	{"report A, over 32 KiB", "patch", "p---y-"},
	{"report A, made immutable", "patch", "p---y-"},
	{"report A with a label", "patch", "p---y-"},
	{"report A with an annotation", "patch", "p---y-"},
	{"report A with a finalizer", "patch", "p---y-"},
	{"report A with an owner", "patch", "p---y-"},
	{"report A", "delete", "----y-"},
	{"report A", "list by name, watch by name", "----y-"},
	{"report B", "get, patch, update, delete", "----y-"},
	{"reports", "list, watch", "----y-"},
	{"reports", "deletecollection", "------"},
	{"a new report", "create", "----y-"},
	{"Lease A", "get, patch, update", "y---y-"},
	{"Lease A with a label", "patch", "p---y-"},
	{"Lease A with a finalizer", "patch", "p---y-"},
	{"Lease A with an owner", "patch", "p---y-"},
	{"Lease A", "delete", "----y-"},
	{"Lease B", "get, patch, update, delete", "----y-"},
	{"Leases", "list, watch", "----y-"},
	{"the bridge's own Lease", "get, update", "----y-"},
	{"the bridge's own Lease", "patch, delete", "------"},

	{"token of A, bound to Node A", "create", "y---y-"},
	{"token of A, bound to Secret A", "create", "p---y-"},
	{"token of A, bound to Node B", "create", "p---p-"},
	{"token of A, bound to nothing", "create", "p---p-"},
	{"token of A, for 2 h", "create", "p---p-"},
	{"token of A, for another audience", "create", "p---p-"},
	{"token of B, bound to Node B", "create", "----y-"},
	{"join token of A", "create", "----p-"},
	{"token of the bridge", "create", "------"},
	{"token of a ServiceAccount in default", "create", "------"},
	{"ServiceAccount A", "get, patch, delete", "----y-"},
	{"ServiceAccount B", "get, patch, delete", "----y-"},
	{"ServiceAccounts", "list, watch, create", "----y-"},
	{"Secret A", "get, list by name, watch by name, update, patch", "------"},
	{"Secret A", "delete", "----y-"},
	{"Secrets", "list, watch, deletecollection", "------"},
	{"a new Secret", "create", "----y-"},
	{"Secrets of multinic-system", "list, create", "------"},

	{"NodeTokenRequest A", "create", "-yy-p-"},
	{"NodeTokenRequest A through the other door", "create", "-pp-p-"},
	{"NodeTokenRequest A with a finalizer", "create", "-pp-p-"},
	{"NodeTokenRequest A with a label", "create", "-pp-p-"},
	{"NodeTokenRequest B", "create", "-pp-p-"},
	{"NodeTokenRequest A, made", "get", "-yy-y-"},
	{"NodeTokenRequest A, made", "update, patch", "------"},
	{"NodeTokenRequest A, made", "delete", "----y-"},
	{"NodeTokenRequest B, made", "get", "----y-"},
	{"NodeTokenRequests", "list, watch", "----y-"},
	{"status of NodeTokenRequest A", "patch", "----y-"},
	{"status of NodeTokenRequest A", "update", "------"},

	{"Role in multinic-nodes, of what the bridge has", "create", "----y-"},
	{"Role in multinic-nodes, of more", "create", "----p-"},
	{"RoleBinding in multinic-nodes, to cluster-admin", "create", "----p-"},
	{"Role A", "get, patch, delete", "----y-"},
	{"ClusterRoles", "list, create", "------"},
	{"ConfigMaps of multinic-system", "get, list, patch, create", "------"},
	{"another ConfigMap of multinic-nodes", "get, patch", "----y-"},

	{"Node A", "get, list by name, watch by name", "--y-y-"},
	{"Node A", "patch", "--y---"},
	{"Node B", "get", "----y-"},
	{"Node B", "patch", "--p---"},
	{"Nodes", "list, watch", "----y-"},
	{"Nodes", "deletecollection", "------"},
	{"CertificateSigningRequests", "list, create", "--y---"},
	{"approval of a CertificateSigningRequest", "update, patch", "------"},
	{"Jobs of multinic-nodes", "list, create", "------"},
	{"Pods of multinic-nodes", "list, deletecollection", "------"},
	{"Pods of multinic-nodes", "create", "--p---"},
	{"CustomResourceDefinition of our objects", "get, patch, delete", "------"},
	{"admission policy", "get", "----y-"},
	{"admission policy", "patch, delete", "------"},
	{"binding of an admission policy", "get", "----y-"},
	{"binding of an admission policy", "patch, delete", "------"},
	{"admission policies", "list, create", "------"},
	{"Events of multinic-nodes", "create", "--y-y-"},
	{"Events of multinic-nodes", "list", "------"},
	{"Events of default", "create", "--y---"},
	{"Secrets of kube-system", "list", "------"},
	{"ConfigMaps of default", "list, create", "------"},
	{"Leases of kube-node-lease", "list", "------"},
	{"namespace multinic-nodes", "delete, patch", "------"},
	{"namespaces", "list, create", "------"},
	{"who am I", "create", "yyyyy-"},
	{"version of the API server", "get", "yyyyyy"},
}

var words = map[byte]string{'y': "yes", '-': "–", 'p': "*refused*"}

// page is the table as it stands in docs/security.md.
func page() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| what | verb | %s |\n|---|---|%s\n", strings.Join(identities, " | "), strings.Repeat("---|", len(identities)))
	for _, a := range matrix {
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

// The table is tried, line by line, verb by verb, as each identity, with real
// requests; those that write are dry runs, which admission sees like others.
func TestTheMatrixIsTrue(t *testing.T) {
	c := newCluster(t)
	w := newStage(c)
	surprises := 0
	for _, a := range matrix {
		for verb := range strings.SplitSeq(a.verbs, ", ") {
			var got strings.Builder
			said := make([]string, len(identities))
			for i := range identities {
				outcome, err := w.try(i, verb, a.object)
				got.WriteByte(outcome)
				said[i] = errorText(err)
			}
			if got.String() == a.want {
				continue
			}
			surprises++
			t.Errorf("%s %s: got %s, want %s", verb, a.object, got.String(), a.want)
			for i := range identities {
				if got.String()[i] != a.want[i] {
					t.Logf("  %s: %.300s", identities[i], said[i])
				}
			}
		}
	}
	t.Logf("%d lines, %d surprises", len(matrix), surprises)
}
