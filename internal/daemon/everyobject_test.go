package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"

	v1 "multinicd/api/v1"
	"multinicd/internal/apply"
	"multinicd/internal/bridge/gather"
	"multinicd/internal/bridge/status"
	"multinicd/internal/daemon/asked"
	"multinicd/netplan"
	"multinicd/nic"
)

// Every object that can be read, whatever rules it is older than, gets its report: the bridge takes it, that of 0.1.0 too, and what becomes of it is
// a status that the API server takes.

func TestEveryObjectGetsItsReport(t *testing.T) {
	schema := statusSchema(t)
	rapid.Check(t, func(rt *rapid.T) {
		data, err := json.Marshal(anObject(rt))
		if err != nil {
			rt.Fatal(err)
		}
		m := newWorld(t)
		m.machine.Refuse = rapid.SampledFrom([]error{nil, errors.New("netplan says\nno\x1b[2J")}).Draw(rt, "the host refuses")
		strange(rt, &m.machine.Net[0])
		level := rapid.Int32Range(0, v1.ReportLevel).Draw(rt, "what the bridge reads")
		reportOf(rt, m, data, level, schema)
	})
}

func FuzzEveryObjectGetsItsReport(f *testing.F) {
	for _, pattern := range []string{"../../api/v1/testdata/good/*.yaml", "../../api/v1/testdata/bad/*.yaml", "../../examples/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatalf("no files match %s: %v", pattern, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			if data, err = yaml.YAMLToJSON(data); err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	for _, spec := range []string{
		`"interfaces":[{"name":"foo","macAddress":"02:00:00:00:01:01"},{"name":"bar","macAddress":"02:00:00:00:01:02"}]`, // no ids that can be read
		`"interfaces":[{"id":0,"macAddress":"02:00:00:00:01:01"},{"name":"foo","macAddress":"02:00:00:00:01:02"}]`,
		`"interfaces":[{"id":2147483647,"macAddress":"02:00:00:00:01:01"},{"id":-1,"macAddress":"02:00:00:00:01:02"}]`,
		`"interfaces":[{"id":1,"macAddress":"x"},{"id":2,"macAddress":""},{"id":3,"macAddress":"01:00:00:00:01:01"}]`,
		`"interfaces":[{"id":1,"macAddress":"02:00:00:00:01:01"},{"id":2,"macAddress":"02-00-00-00-01-01"}]`, // one MAC, as the kernel has it
		`"specHash":"abc\n"`, `"specHash":"\ud800"`, `"specHash":"` + strings.Repeat("é", 200) + `"`,
	} {
		f.Add([]byte(`{"apiVersion":"multinic.io/v1","kind":"MultiNicNodeConfig","metadata":{"name":"n1"},"spec":{"nodeName":"n1",` + spec + `}}`))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for level := range int32(v1.ReportLevel + 1) {
			reportOf(t, newWorld(t), data, level, statusSchema(t))
		}
	})
}

// reportOf has a node, and a bridge that reads reports up to a level, work on an object as it lies in a cluster.
func reportOf(t rapid.TB, w *world, data []byte, level int32, schema map[string]any) {
	obj, err := v1.ParseNodeConfig(data)
	if err != nil {
		return // the daemon says of it that it cannot be read
	}
	obj.Name, obj.UID, obj.Generation = "n1", "u1", 1 // the API server's, and the node's own object
	obj.Status = v1.MultiNicNodeConfigStatus{ObservedGeneration: 1, ReportLevel: level}
	backend := netplan.New(w.machine, w.machine)
	backend.DAD = false
	d := &Daemon{Wiring: Wiring{Node: "n1", Version: "test", Executor: v1.ExecutorDaemon, OnDelete: "retain", Dir: "/state", Resync: time.Hour, Reporter: keeps{w},
		Applier: &apply.Applier{Backend: backend, Links: w.machine, Files: w.machine, Probe: w, Log: slog.New(slog.DiscardHandler),
			Dir: "/state", Boot: "boot", ProbeTimeout: time.Second, VerifyTimeout: time.Second},
		Machine: machine{w.machine, w}, Files: w.state, Log: slog.New(slog.DiscardHandler)}}
	s, err := d.Once(w.t.Context(), asked.Wish{Object: obj})
	if err != nil {
		t.Fatalf("the pass ends with %v", err)
	}
	if len(w.sent) != 1 {
		t.Fatalf("%d reports were sent, of a node that says %s", len(w.sent), whole(s))
	}
	if err := parse010(w.sent[0]); err != nil && level == 0 {
		t.Fatalf("the bridge of 0.1.0: %v: %s", err, w.sent[0])
	}
	r, err := v1.ParseReport(w.sent[0])
	if err != nil {
		t.Fatalf("the bridge: %v: %s", err, w.sent[0])
	}
	if code, reason, message := r.Outcome(v1.ActionTrigger); int(code) != s.ExitCode() && level > 0 {
		t.Fatalf("multinicd apply ends with %d, a run with %d: %s: %s: %s", s.ExitCode(), code, reason, message, w.sent[0])
	}
	judged := status.Judge(status.In{Object: obj, Report: gather.ReadReport(obj.Name, string(w.sent[0])), Now: time.Now()}).Status
	if string(judged.State) != s.State {
		t.Fatalf("the node says %s, the bridge %s: %s", s.State, judged.State, w.sent[0])
	}
	if c := judged.Conditions[slices.IndexFunc(judged.Conditions, isReady)]; c.Reason == v1.ReasonReportRefused || c.Reason == v1.ReasonNoReport {
		t.Fatalf("Ready is %s: %s", c.Reason, c.Message)
	}
	for _, n := range s.NICs {
		if text := n.Name + n.MAC; strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) }) {
			t.Fatalf("the status shows %q", text)
		}
	}
	wanted := obj.Spec.Interfaces
	for i, n := range judged.InterfaceStatuses {
		if n.Reason == v1.ReasonNoReport {
			t.Fatalf("the node said nothing of %d, %s, of %v: %s", i, n.MACAddress, wanted, w.sent[0])
		}
	}
	var v map[string]any
	if data, err = json.Marshal(judged); err == nil {
		err = json.Unmarshal(data, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	if wrong := refuses(schema, v, "status"); wrong != "" {
		t.Fatalf("the API server refuses the status: %s; report of %s: %s", wrong, r.Node, w.sent[0])
	}
}

func isReady(c metav1.Condition) bool { return c.Type == v1.ConditionReady }

// keeps takes reports as they are.
type keeps struct{ *world }

func (k keeps) Report(_ context.Context, data []byte) error {
	k.sent = append(k.sent, data)
	return nil
}

// strange gives a link what only a kernel has.
func strange(t *rapid.T, l *nic.Link) {
	l.MTU = rapid.SampledFrom([]int{1500, 65536, 1 << 31}).Draw(t, "mtu of the link")
	l.MaxMTU = max(l.MTU, l.MaxMTU)
	for _, a := range rapid.SampledFrom([][]string{nil, {"::ffff:192.0.2.9/128"}, {"203.0.113.7/8"}}).Draw(t, "addresses of the link") {
		l.Addresses = append(l.Addresses, nic.Address{Prefix: netip.MustParsePrefix(a)})
	}
}

// texts are what publishers, or their mistakes, put into a string: as JSON gives it, so that what is no UTF-8 has become U+FFFD.
var texts = []string{"", "abc123", "abc123\n", "a\r\nb\t", "\x1b[2J\x07", "\u202eevil", "é", strings.Repeat("é", 200), strings.Repeat("x", 1000), "\ufffd\ufffd", "\x00", "null"}

// anObject draws an object as a cluster may hold it since before there were rules.
func anObject(t *rapid.T) map[string]any {
	maybe := func(m map[string]any, key string, pool ...any) {
		if i := rapid.IntRange(0, len(pool)).Draw(t, key); i > 0 {
			m[key] = pool[i-1]
		}
	}
	anyText := func(more ...any) []any {
		for _, s := range texts {
			more = append(more, s)
		}
		return more
	}
	var nics []any
	for i := range rapid.SampledFrom([]int{0, 1, 2, 3, 64, 65}).Draw(t, "interfaces") {
		n := map[string]any{}
		maybe(n, "macAddress", anyText(fmt.Sprintf("02:00:00:00:01:%02x", i+1), fmt.Sprintf("02:00:00:00:01:%02X", i+1), fmt.Sprintf("02:00:00:00:01:%02x", i+1), "02:00:00:00:01:01",
			"02-00-00-00-01-01", "00:00:00:00:00:00", "01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff")...)
		maybe(n, "id", i, i, i, 0, 1, 9999, 10000, -1, 1<<31-1)
		maybe(n, "name", anyText(fmt.Sprintf("multinic%d", i), "multinic1", "multinic01", "multinic12345", "eth0", "multinic-2147483648")...)
		maybe(n, "portId", anyText()...)
		maybe(n, "address", "192.0.2.1", "", "x", fmt.Sprintf("192.0.2.%d", i))
		maybe(n, "cidr", "192.0.2.0/24", "", "y", fmt.Sprintf("192.0.2.%d/24", i+1), "2001:db8::1/64")
		maybe(n, "addresses", []any{"198.51.100.1/24"}, []any{"z"}, []any{})
		maybe(n, "mtu", 1500, 0, -1, 68, 9001)
		maybe(n, "gateway", "192.0.2.1", "192.0.2.254", "fe80::1", "w")
		maybe(n, "routes", []any{map[string]any{"to": "10.0.0.0/8"}}, []any{map[string]any{"to": "2001:db8:1::/48", "table": 10001}}, []any{map[string]any{"to": "q", "via": "r"}})
		nics = append(nics, n)
	}
	spec := map[string]any{"nodeName": rapid.SampledFrom([]string{"n1", "n1", "n1", "another", "", strings.Repeat("n", 300)}).Draw(t, "nodeName")}
	if len(nics) > 0 {
		spec["interfaces"] = nics
	}
	maybe(spec, "specHash", anyText()...)
	maybe(spec, "instanceId", anyText("i-1")...)
	maybe(spec, "providerId", anyText()...)
	return map[string]any{"apiVersion": rapid.SampledFrom([]string{"multinic.io/v1", "multinic.io/v1alpha1"}).Draw(t, "version"),
		"kind": v1.NodeConfigKind, "metadata": map[string]any{"name": "n1"}, "spec": spec}
}

// statusSchema is that of status, as the API server has it.
func statusSchema(t *testing.T) map[string]any {
	data, err := os.ReadFile("../../charts/multinic/files/crds/multinic.io_multinicnodeconfigs.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var crd struct {
		Spec struct {
			Versions []struct {
				Name   string
				Schema struct {
					OpenAPIV3Schema struct{ Properties map[string]map[string]any }
				}
			}
		}
	}
	if err := yaml.Unmarshal(data, &crd); err != nil {
		t.Fatal(err)
	}
	for _, v := range crd.Spec.Versions {
		if v.Name == v1.Version {
			return v.Schema.OpenAPIV3Schema.Properties["status"]
		}
	}
	t.Fatal("the CRD has no status")
	return nil
}

// refuses says what of a value a schema does not take; "" for nothing. It knows the words that the schema of status has.
func refuses(schema map[string]any, v any, at string) string {
	number := func(key string) (int, bool) { n, ok := schema[key].(float64); return int(n), ok }
	switch v := v.(type) {
	case map[string]any:
		properties, _ := schema["properties"].(map[string]any)
		for key, value := range v {
			below, ok := properties[key].(map[string]any)
			if !ok {
				return at + "." + key + ": field not declared in schema"
			}
			if wrong := refuses(below, value, at+"."+key); wrong != "" {
				return wrong
			}
		}
		required, _ := schema["required"].([]any)
		for _, key := range required {
			if _, ok := v[fmt.Sprint(key)]; !ok {
				return fmt.Sprintf("%s.%s is required", at, key)
			}
		}
	case []any:
		if most, ok := number("maxItems"); ok && len(v) > most {
			return fmt.Sprintf("%s has %d items", at, len(v))
		}
		for i, value := range v {
			items, _ := schema["items"].(map[string]any)
			if wrong := refuses(items, value, fmt.Sprintf("%s[%d]", at, i)); wrong != "" {
				return wrong
			}
		}
	case string:
		if most, ok := number("maxLength"); ok && utf8.RuneCountInString(v) > most {
			return fmt.Sprintf("%s has %d characters", at, utf8.RuneCountInString(v))
		}
		if least, ok := number("minLength"); ok && utf8.RuneCountInString(v) < least {
			return fmt.Sprintf("%s has %d characters", at, utf8.RuneCountInString(v))
		}
		if enum, ok := schema["enum"].([]any); ok && !slices.Contains(enum, any(v)) {
			return fmt.Sprintf("%s is %q", at, v)
		}
	case float64:
		if least, ok := number("minimum"); ok && int(v) < least {
			return fmt.Sprintf("%s is %v", at, v)
		}
	}
	return ""
}
