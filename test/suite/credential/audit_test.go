package credential

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/test/bed"
)

// Each thing that docs/audit.md has people look for happens once, beside an honest node, bridge and administrator. The queries are those of the
// page, and the policy is the one that it has people copy. No test asks Loki.
func TestTheQueriesOfTheAuditLogShowWhatThePageSays(t *testing.T) {
	c := newCluster(t)
	before := c.audit()
	const honest, stolen, branched, foreign = "audit-honest", "audit-stolen", "audit-branched", "127.0.0.77"
	stop := c.bridge(nil)
	c.play(honest)
	nodes := map[string]client.Client{}
	for _, node := range []string{stolen, branched} {
		c.node(node)
		c.object(node)
		nodes[node] = c.joined(node, v1.DoorKubelet)
	}
	ordered := &v1.MultiNicNodeRun{ObjectMeta: metav1.ObjectMeta{Name: "audit-ordered", Namespace: system}, Spec: v1.MultiNicNodeRunSpec{Node: honest, Action: v1.ActionCleanup}}
	c.create(ordered)
	c.eventually("the cleanup that was asked for is done", func() string {
		if err := c.admin.Get(t.Context(), client.ObjectKeyFromObject(ordered), ordered); err != nil || ordered.Status.FinishedAt == nil {
			return "it is not: " + errorText(err)
		}
		return ""
	})
	stop()

	object := func(node string) *v1.MultiNicNodeConfig {
		return &v1.MultiNicNodeConfig{ObjectMeta: metav1.ObjectMeta{Name: node, Namespace: system}}
	}
	elsewhere := c.bearerConfig(c.tokens[nodes[stolen]])
	elsewhere.Dial = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(foreign)}}).DialContext
	thief := newClient(t, elsewhere)
	byHand := c.bearer(c.token(system, v1.BridgeAccount))
	patched := func(kind types.PatchType, body string) func() error {
		return func() error {
			return byHand.Status().Patch(t.Context(), object(stolen), client.RawPatch(kind, []byte(body)))
		}
	}
	renewed := func() error {
		bound := &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Node", Name: branched}
		account := &corev1.ServiceAccount{ObjectMeta: inNodes(v1.ServiceAccountName(branched))}
		return nodes[branched].SubResource("token").Create(t.Context(), account, &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: bound}})
	}
	adopted := func(kind types.PatchType, body string) func() error {
		return func() error { return c.admin.Patch(t.Context(), object(stolen), client.RawPatch(kind, []byte(body))) }
	}
	for what, do := range map[string]func() error{
		"the thief reads": func() error {
			return thief.Get(t.Context(), client.ObjectKeyFromObject(object(stolen)), object(stolen))
		},
		"a token is renewed twice":             func() error { return errors.Join(renewed(), renewed()) },
		"a cleanup is ordered":                 patched(types.MergePatchType, `{"status":{"requestedAction":"cleanup","requestedRun":"made-up"}}`),
		"a cleanup is ordered by a JSON patch": patched(types.JSONPatchType, `[{"op":"add","path":"/status/requestedAction","value":"cleanup"}]`),
		"a NIC is adopted":                     adopted(types.MergePatchType, `{"spec":{"interfaces":[{"id":1,"macAddress":"02:00:00:00:01:01","adopt":true}]}}`),
		"a NIC is adopted by a JSON patch":     adopted(types.JSONPatchType, `[{"op":"add","path":"/spec/interfaces/0/adopt","value":true}]`),
		"a policy is changed": func() error {
			_, err := c.Kubectl(t.Context(), "label", "validatingadmissionpolicy", "multinic-status", "audit=1")
			return err
		},
		"somebody acts as the node": func() error {
			return c.user("system:serviceaccount:"+inside+":"+v1.ServiceAccountName(stolen)).Get(t.Context(), client.ObjectKeyFromObject(object(stolen)), object(stolen))
		},
	} {
		if err := do(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	c.kubectl("label", "validatingadmissionpolicy", "multinic-status", "audit-")
	if err := nodes[stolen].Get(t.Context(), client.ObjectKeyFromObject(object(honest)), object(honest)); !apierrors.IsForbidden(err) {
		t.Fatalf("a node reads another's object: %v", err)
	}

	user := func(node string) string { return "system:serviceaccount:" + inside + ":" + v1.ServiceAccountName(node) }
	const at = `^\S+Z\t`
	rows := []struct {
		of   string // a part of the query
		want []string
		more bool // honest work shows as well
	}{
		{"sort -u | cut -f 1 | uniq -d", []string{"^" + user(stolen) + "$"}, false},
		{"--arg node", []string{at + regexp.QuoteMeta(foreign) + `\tget\t/apis/multinic.io/v1/\S+/` + stolen + `\t200$`, at + `127\.0\.0\.\d+\tget\t/apis/multinic.io/v1/\S+/` + honest + `\t403$`}, true},
		{`objectRef.subresource == "token"`, []string{"^" + user(branched) + `\tJTI=\S+$`}, false},
		{"$asked", []string{at + `\S+:multinic-bridge\S*\t127\.0\.0\.\d+\t` + stolen + "$", at + `\S+:multinic-bridge\S*\t127\.0\.0\.\d+\t` + stolen + "$"}, false},
		{"pod-name", []string{`^ *\d+ \t127\.0\.0\.\d+$`}, true},
		{"cut -f 1,2", []string{`^ *\d+ \S+T\d\d\tadmin$`}, true},
		{".adopt == true", []string{at + "admin\t" + stolen + "$", at + "admin\t" + stolen + "$"}, false},
		{`verb | IN("create", "update", "patch"))`, []string{`^ *\d+ \S+T\d\d\t` + user(honest) + "$", `^ *\d+ \S+T\d\d\t` + user(branched) + "$"}, true},
		{"IN(403, 422)", []string{at + user(stolen) + `\t127\.0\.0\.\d+\tget\t/apis/multinic.io/v1/\S+/` + honest + "$"}, false},
		{"impersonatedUser", []string{at + "admin\t" + user(stolen) + `\tget\t/apis/multinic.io/v1/\S+/` + stolen + "$"}, true}, // and what the client asks before
		{"admissionregistration", []string{at + "admin\tpatch\tmultinic-status$", at + "admin\tpatch\tmultinic-status$"}, false},
	}
	// A client of a test before may still ask, with a token that has ended.
	var log []byte
	for line := range bytes.Lines(c.audit()[len(before):]) {
		if !bytes.Contains(line, []byte(`"username":"system:serviceaccount:multinic-nodes:`)) || bytes.Contains(line, []byte("audit-")) {
			log = append(log, line...)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "audit.log"), log, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, query := range queries(t) {
		i := slices.IndexFunc(rows, func(r struct {
			of   string
			want []string
			more bool
		}) bool {
			return strings.Contains(query, r.of)
		})
		if i < 0 {
			t.Errorf("nothing is known of the query\n%s", query)
			continue
		}
		row := rows[i]
		rows = slices.Delete(rows, i, i+1)
		got := ask(t, dir, strings.ReplaceAll(query, "worker-node-01", stolen))
		left := slices.Clone(got)
		for _, want := range row.want {
			i := slices.IndexFunc(left, regexp.MustCompile(want).MatchString)
			if i < 0 {
				t.Errorf("%s\ndoes not print %s:\n%s", query, want, strings.Join(got, "\n"))
				continue
			}
			left = slices.Delete(left, i, i+1)
		}
		if len(left) > 0 && !row.more {
			t.Errorf("%s\nprints more:\n%s", query, strings.Join(left, "\n"))
		}
	}
	for _, row := range rows {
		t.Errorf("the page has no query with %s", row.of)
	}
}

// audit is the audit log so far.
func (c *cluster) audit() []byte {
	c.t.Helper()
	log, err := c.Audit()
	if err != nil {
		c.t.Fatal(err)
	}
	return log
}

// queries are those of docs/audit.md for jq.
func queries(t *testing.T) (out []string) {
	t.Helper()
	text, err := os.ReadFile(bed.Path(t, "docs/audit.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?s)```\n(jq .*?)```\n").FindAllStringSubmatch(string(text), -1) {
		out = append(out, m[1])
	}
	return out
}

// ask runs a query of the page where the log is, and gives the lines that it prints.
func ask(t *testing.T, dir, query string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", query)
	var stderr bytes.Buffer
	cmd.Dir, cmd.Stderr = dir, &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Errorf("%s\n%v: %s", query, err, &stderr)
	}
	return strings.FieldsFunc(string(out), func(r rune) bool { return r == '\n' })
}
