package daemon

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/internal/apply"
	"multinicd/internal/daemon/asked"
	"multinicd/netplan"
)

// FuzzWhatIsKept: whatever lies in the files of the state folder, the daemon starts, does what the
// object wants, and has a report that the bridge takes.
func FuzzWhatIsKept(f *testing.F) {
	object := `{"apiVersion":"multinic.io/v1","kind":"MultiNicNodeConfig","metadata":{"name":"n1","uid":"u1","generation":3},"spec":{"nodeName":"n1","interfaces":[{"id":1,"macAddress":"02:00:00:00:01:01"}]}}`
	f.Add([]byte(`{"Object":` + object + `}`))
	f.Add([]byte(`{"Object":` + object + `,"Before":` + object + `,"Unreleased":` + object + `,"Held":true,"Cleaned":true,"Braked":true,"Ran":["\u001b[2J",""],"ReportLevel":-1,"Unread":{}}`))
	f.Add([]byte(`{"Report":{"uid":"u1","observedGeneration":9,"interfaces":[{"macAddress":"x","status":"\u001b"}]},"Delivered":false}`))
	f.Add([]byte(`{"Object":{"spec":{"interfaces":[{"macAddress":"x"},{"id":-1}]}},"Gone":true,"Vetoed":true}`))
	f.Add([]byte(`null`))
	f.Add([]byte(`{"Object":`))
	f.Fuzz(func(t *testing.T, data []byte) {
		w := newWorld(t)
		for _, name := range []string{wishFile, reportFile} {
			w.state.Disk["/state/"+name] = data
		}
		backend := netplan.New(w.machine, w.machine)
		backend.DAD = false
		d := &Daemon{Wiring: Wiring{Node: "n1", Version: "test", Executor: v1.ExecutorDaemon, OnDelete: "retain", Dir: "/state", Resync: time.Hour, Reporter: keeps{w},
			Applier: &apply.Applier{Backend: backend, Links: w.machine, Files: w.machine, Probe: w, Log: slog.New(slog.DiscardHandler),
				Dir: "/state", Boot: "boot", ProbeTimeout: time.Second, VerifyTimeout: time.Second},
			Machine: machine{w.machine, w}, Files: w.state, Log: slog.New(slog.DiscardHandler)}}
		obj, err := v1.ParseNodeConfig([]byte(object))
		if err != nil {
			t.Fatal(err)
		}
		obj.Generation = 10
		s, err := d.Once(t.Context(), asked.Wish{Object: obj})
		if err != nil {
			t.Fatal(err)
		}
		if len(s.NICs) == 0 || s.NICs[0].MAC != "02:00:00:00:01:01" {
			t.Errorf("the status is %+v", s)
		}
		for _, report := range w.sent {
			if _, err := v1.ParseReport(report); err != nil {
				t.Errorf("%v: %s", err, report)
			}
		}
	})
}

// FuzzRequest: whatever comes on the socket, a line gets one answer, and what is no request of ours
// makes no command of the loop.
func FuzzRequest(f *testing.F) {
	f.Add([]byte(AskStatus + "\n"))
	f.Add([]byte(AskCleanup + " \n" + AskRollback + "\n"))
	f.Add([]byte(strings.Repeat("x", maxRequest) + "\n"))
	f.Add([]byte("\x1b[2J\x00\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		line, _, _ := strings.Cut(string(data), "\n")
		if slices.Contains([]string{AskRollback, AskUndo, AskCleanup}, line) {
			return // a loop has to run for that
		}
		d := &Daemon{Wiring: Wiring{Log: slog.New(slog.DiscardHandler), Files: newWorld(t).state}}
		d.setUp()
		c := &connection{in: bytes.NewReader(data)}
		err := d.answer(t.Context(), c)
		if whole := bytes.Contains(data[:min(len(data), maxRequest)], []byte("\n")); whole != (err == nil) {
			t.Errorf("%q ends with %v", data, err)
		}
		var r Reply
		if err == nil && (json.Unmarshal(c.out.Bytes(), &r) != nil || (r.Error == "") != (line == AskStatus)) {
			t.Errorf("%q is answered with %q", data, c.out.String())
		}
	})
}

// connection has all of a request, and takes the answer.
type connection struct {
	net.Conn
	in  io.Reader
	out bytes.Buffer
}

func (c *connection) Read(b []byte) (int, error)     { return c.in.Read(b) }
func (c *connection) Write(b []byte) (int, error)    { return c.out.Write(b) }
func (*connection) SetReadDeadline(time.Time) error  { return nil }
func (*connection) SetWriteDeadline(time.Time) error { return nil }
func (*connection) Close() error                     { return nil }
