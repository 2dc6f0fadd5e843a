package v1

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func goodReport() Report {
	at := metav1.NewTime(time.Date(2025, 1, 21, 10, 32, 10, 0, time.UTC))
	return Report{
		Schema: ReportSchema, Node: "worker-node-01", UID: "3d0a1c5e-0000-4000-8000-000000000001", Generation: 2,
		SpecHash: "abc123def456", Executor: ExecutorDaemon, Version: "1.0.0", Phase: PhaseDone,
		Interfaces: []InterfaceStatus{{
			ID: 1, Name: "multinic1", MACAddress: "02:00:00:00:01:01", Status: StateConfigured, Reason: ReasonConfigured,
			Message: "Interface configured successfully", Address: "192.168.100.10/24", MTU: 1500, LastConfigured: &at,
			LastRepair: &Repair{Time: at, Count: 3, Message: "mtu: want 1500, have 1300 (by unknown)"},
		}},
	}
}

func TestReportSurvivesARoundTrip(t *testing.T) {
	want := goodReport()
	data, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseReport(data)
	if err != nil {
		t.Fatal(err)
	}
	// metav1.Time reads into the local zone; the instant is what counts.
	same := cmp.Comparer(func(a, b metav1.Time) bool { return a.Time.Equal(b.Time) })
	if diff := cmp.Diff(want, got, same); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEncodeMakesMessagesFit(t *testing.T) {
	r := goodReport()
	r.Degraded = &Remark{Reason: ReasonDriftFighting, Message: "line\none\ttwo\x1b[31m \u202ered\u00a0end\xff"}
	r.Interfaces = nil
	for i := range int32(MaxInterfaces) {
		n := goodReport().Interfaces[0]
		n.ID, n.Name = 9900+i, fmt.Sprintf("multinic%d", 9900+i)
		n.MACAddress = fmt.Sprintf("02:00:00:00:01:%02x", i)
		n.Message = strings.Repeat("ü\"", 400)
		r.Interfaces = append(r.Interfaces, n)
	}
	data, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if len(data) > MaxReportSize {
		t.Errorf("%d bytes, want at most %d", len(data), MaxReportSize)
	}
	got, err := ParseReport(data)
	if err != nil {
		t.Fatal(err)
	}
	if want := "line one two[31m red end"; got.Degraded.Message != want {
		t.Errorf("message %q, want %q", got.Degraded.Message, want)
	}
	if len(r.Interfaces[0].Message) != 1200 {
		t.Error("Encode changed its receiver")
	}
}

// A bridge, or CRDs, of an older version get what they know, and no more.
func TestAnOlderLevelHasNoNewerFields(t *testing.T) {
	r := goodReport()
	r.Interfaces[0].Outcome = OutcomeRolledBack
	s := MultiNicNodeConfigStatus{ReportLevel: ReportLevel, InterfaceStatuses: r.Interfaces}
	for level, want := range []string{"false false", "true false", "true true", "true true"} {
		for what, row := range map[string]InterfaceStatus{"report": r.AtLevel(int32(level)).Interfaces[0], "status": s.AtLevel(int32(level)).InterfaceStatuses[0]} {
			if got := fmt.Sprint(row.Outcome != "", row.LastRepair != nil); got != want {
				t.Errorf("level %d of a %s: outcome and lastRepair are there: %s, want %s", level, what, got, want)
			}
		}
	}
	if r.Interfaces[0].LastRepair == nil || r.Interfaces[0].Outcome == "" {
		t.Error("the receiver was changed")
	}
}

// What an object, a kernel or a clock has beyond the bounds of a report costs the field, not the report.
func TestEncodeLeavesOutWhatAReportDoesNotTake(t *testing.T) {
	r := goodReport()
	first := r.Interfaces[0]
	row := func(change func(n *InterfaceStatus)) {
		n := first
		n.LastConfigured = nil
		n.MACAddress = fmt.Sprintf("02:00:00:00:02:%02x", len(r.Interfaces))
		change(&n)
		r.Interfaces = append(r.Interfaces, n)
	}
	row(func(*InterfaceStatus) {})                           // the id of another
	row(func(n *InterfaceStatus) { n.ID = -1 })              // none
	row(func(n *InterfaceStatus) { n.ID = 1 << 30 })         // too great
	row(func(n *InterfaceStatus) { n.ID = 9999 })            // the greatest
	row(func(n *InterfaceStatus) { n.MACAddress = "01-00" }) // cannot be read
	row(func(n *InterfaceStatus) { n.MACAddress = "x\xff" }) // nor this
	row(func(n *InterfaceStatus) { n.Name = "multinic-2147483648" })
	row(func(n *InterfaceStatus) { n.Name = "a\nb" })
	row(func(n *InterfaceStatus) { n.Address = "::ffff:192.0.2.1/128" })
	row(func(n *InterfaceStatus) { n.MTU = 65536 })
	row(func(n *InterfaceStatus) { at := metav1.NewTime(time.Unix(-1, 0)); n.LastConfigured = &at })
	row(func(n *InterfaceStatus) { n.MACAddress = "02:00:00:00:02:01" }) // another's
	r.SpecHash, r.Run, r.Version = "abc\n", "x\u2028y", "1\x1b[2J"
	data, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseReport(data)
	if err != nil {
		t.Fatal(err)
	}
	if got.SpecHash != "" || got.Run != "" || got.Version != "1[2J" {
		t.Errorf("hash %q, run %q, version %q", got.SpecHash, got.Run, got.Version)
	}
	var lines []string
	for _, n := range got.Interfaces[1:] {
		lines = append(lines, strings.TrimSpace(fmt.Sprintln(n.ID, n.Name, n.MACAddress, n.Address, n.MTU, n.LastConfigured == nil)))
	}
	const like = " multinic1 02:00:00:00:02:"
	want := []string{
		"9998" + like + "01 192.168.100.10/24 1500 true", "9997" + like + "02 192.168.100.10/24 1500 true",
		"9996" + like + "03 192.168.100.10/24 1500 true", "9999" + like + "04 192.168.100.10/24 1500 true",
		"9995 multinic1 " + NoMAC + " 192.168.100.10/24 1500 true", "9994 multinic1 " + NoMAC + " 192.168.100.10/24 1500 true",
		"9993  02:00:00:00:02:07 192.168.100.10/24 1500 true", "9992  02:00:00:00:02:08 192.168.100.10/24 1500 true",
		"9991" + like + "09  1500 true", "9990" + like + "0a 192.168.100.10/24 0 true", "9989" + like + "0b 192.168.100.10/24 1500 true",
		"9988 multinic1 " + NoMAC + " 192.168.100.10/24 1500 true",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEncodeRefusesWhatNobodyWouldRead(t *testing.T) {
	r := goodReport()
	r.Generation = 0
	if _, err := r.Encode(); !errors.Is(err, ErrReport) {
		t.Errorf("%v, want ErrReport", err)
	}
}

func TestParseReportRefuses(t *testing.T) {
	edit := func(change func(m map[string]any)) []byte {
		data, err := goodReport().Encode()
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(data, &m); err != nil {
			t.Fatal(err)
		}
		change(m)
		if data, err = json.Marshal(m); err != nil {
			t.Fatal(err)
		}
		return data
	}
	set := func(key string, v any) []byte { return edit(func(m map[string]any) { m[key] = v }) }
	nics := func(m map[string]any) []any {
		list, ok := m["interfaces"].([]any)
		if !ok {
			t.Fatal("the good report has no interfaces")
		}
		return list
	}
	nic := func(key string, v any) []byte {
		return edit(func(m map[string]any) {
			if first, ok := nics(m)[0].(map[string]any); ok {
				first[key] = v
			}
		})
	}
	for name, data := range map[string][]byte{
		"nothing":                              nil,
		"no JSON":                              []byte("state: Configured"),
		"a list":                               []byte("[]"),
		"null":                                 []byte("null"),
		"an empty object":                      []byte("{}"),
		"half a report":                        set("node", "n")[:40],
		"two reports":                          append(set("node", "n"), set("node", "n")...),
		"bytes that are not UTF-8":             bytes.Replace(set("node", "NNN"), []byte("NNN"), []byte("\xff\xfe\xfd"), 1),
		"one byte too many":                    append(set("node", "n"), bytes.Repeat([]byte(" "), MaxReportSize)...),
		"an unknown field":                     set("labels", map[string]any{}),
		"an unknown field of a NIC":            nic("finalizers", []string{"x"}),
		"another schema":                       set("schema", "multinic.io/report/v2"),
		"no node":                              set("node", ""),
		"a node name that is too long":         set("node", strings.Repeat("n", 201)),
		"no uid":                               set("uid", ""),
		"generation zero":                      set("generation", 0),
		"a negative generation":                set("generation", -1),
		"a generation with a fraction":         set("generation", 1.5),
		"an executor nobody knows":             set("executor", "root"),
		"a phase nobody knows":                 set("phase", "Finished"),
		"a refusal without a reason":           set("refused", map[string]any{"message": "x"}),
		"a reason with spaces":                 set("degraded", map[string]any{"reason": "a b"}),
		"a control character in the version":   set("version", "1\x1b[2J"),
		"a message that is too long":           nic("message", strings.Repeat("x", 257)),
		"a message with a line break":          nic("message", "a\nb"),
		"a message written backwards":          nic("message", "\u202eevil"),
		"a state nobody knows":                 nic("status", "Great"),
		"a time that JSON writes as null":      nic("lastConfigured", "0001-01-01T00:00:00Z"),
		"a year of five digits in UTC":         nic("lastConfigured", "9999-12-31T23:59:59-12:00"),
		"a year before the first":              nic("lastConfigured", "0000-01-01T00:00:00+12:00"),
		"a NIC without a reason":               nic("reason", ""),
		"a refusal by the bridge's own word":   set("refused", map[string]any{"reason": ReasonJobFailed}),
		"a warning by the bridge's own word":   set("degraded", map[string]any{"reason": ReasonReportRefused}),
		"a NIC with the bridge's own word":     nic("reason", ReasonNodeSilent),
		"a MAC in upper case":                  nic("macAddress", "02:00:00:00:01:0A"),
		"no MAC":                               nic("macAddress", "x"),
		"a negative id":                        nic("id", -1),
		"an id that is too great":              nic("id", 10000),
		"an address without prefix length":     nic("address", "192.168.100.10"),
		"a negative MTU":                       nic("mtu", -1),
		"a time that is none":                  nic("lastConfigured", "yesterday"),
		"a NIC name that is too long":          nic("name", "multinic12345678"),
		"a number that does not fit":           nic("id", 1e300),
		"a MAC that is there twice":            edit(func(m map[string]any) { m["interfaces"] = append(nics(m), nics(m)[0]) }),
		"more interfaces than an object takes": edit(func(m map[string]any) { m["interfaces"] = manyInterfaces(65) }),
	} {
		t.Run(name, func(t *testing.T) {
			r, err := ParseReport(data)
			if !errors.Is(err, ErrReport) {
				t.Fatalf("%+v, %v; want ErrReport", r, err)
			}
			if msg := err.Error(); Printable(msg, len(msg)) != msg {
				t.Errorf("the error cannot be printed: %q", msg)
			}
		})
	}
}

func manyInterfaces(n int) []any {
	var out []any
	for i := range n {
		out = append(out, map[string]any{"id": i, "macAddress": "02:00:00:00:00:01", "status": "Pending", "reason": "WaitingForNIC"})
	}
	return out
}

func FuzzParseReport(f *testing.F) {
	data, err := goodReport().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"schema":"multinic.io/report/v1"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseReport(data)
		if err != nil {
			if !errors.Is(err, ErrReport) {
				t.Errorf("%v does not wrap ErrReport", err)
			}
			return
		}
		again, err := r.Encode()
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if _, err := ParseReport(again); err != nil {
			t.Errorf("what was written cannot be read: %v", err)
		}
	})
}
