package node

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"multinicd/host/survey"
	"multinicd/internal/apply"
	"multinicd/nic"
	"multinicd/plan"
)

// fakeStacks is a host on which links belong to whom the test says.
type fakeStacks struct {
	stack survey.Stack
	gone  []string // backends that can be had no more
	asked int
	err   error // of Detect
}

func (f *fakeStacks) Detect(context.Context) (survey.Stack, error) { return f.stack, f.err }
func (f *fakeStacks) Stack(context.Context, nic.Link) (survey.Stack, error) {
	f.asked++
	return f.stack, nil
}
func (f *fakeStacks) Has(backend string) bool { return !slices.Contains(f.gone, backend) }

// fakeBackend writes one file.
type fakeBackend struct {
	name      string
	file      string
	validated *[]string
}

func (f fakeBackend) Steps(_ context.Context, a plan.Action) ([]plan.Step, error) {
	verb := strings.ToLower(string(a.Kind))
	return []plan.Step{
		{Kind: plan.StepKind(f.name + " validates"), Do: plan.Op{Check: plan.CheckValidate}},
		{Kind: plan.StepKind(f.name + " " + verb), Do: plan.Op{File: &plan.File{Path: f.file, Absent: a.Kind == plan.Remove}}, Final: true},
	}, nil
}

func (f fakeBackend) Validate(context.Context, []plan.Step) error {
	*f.validated = append(*f.validated, f.name)
	return nil
}

func TestDispatch(t *testing.T) {
	c := nic.Config{ID: 1, Name: "multinic1", MAC: nic.MAC{2, 0, 0, 0, 1, 1}}
	netplanOwns, managerOwns := survey.Stack{Backend: survey.Netplan}, survey.Stack{Backend: survey.NetworkManager, Evidence: []string{"it manages link eth1"}}
	for name, test := range map[string]struct {
		stack  survey.Stack
		record []plan.Owned
		gone   []string
		setting,
		want string // the steps, or the reason of a refusal
		backend   string // noted
		kind      plan.Kind
		asked     int
		validates string
	}{
		"a new NIC of netplan's":     {stack: netplanOwns, want: "netplan validates, netplan configure (final)", backend: survey.Netplan, asked: 1, validates: "netplan"},
		"a new NIC of the manager's": {stack: managerOwns, want: "networkmanager validates, networkmanager configure (final)", backend: survey.NetworkManager, asked: 1, validates: "networkmanager"},
		"a NIC that we have is not asked about": {stack: managerOwns, record: []plan.Owned{{MAC: c.MAC, Config: c, Applied: true, Backend: survey.NetworkManager}},
			want: "networkmanager validates, networkmanager configure (final)", backend: survey.NetworkManager, validates: "networkmanager"},
		"a NIC that an earlier version has": {stack: managerOwns, record: []plan.Owned{{MAC: c.MAC, Config: c, Applied: true}}, want: "netplan validates, netplan configure (final)", backend: survey.Netplan, validates: "netplan"},
		"a NIC that was given back is asked about anew": {stack: managerOwns, record: []plan.Owned{{MAC: c.MAC, Config: c}},
			want: "networkmanager validates, networkmanager configure (final)", backend: survey.NetworkManager, asked: 1, validates: "networkmanager"},
		"the host has changed sides": {stack: managerOwns, record: []plan.Owned{{MAC: c.MAC, Config: c, Applied: true, Backend: survey.Netplan}}, gone: []string{survey.Netplan},
			want: "networkmanager validates, netplan remove, networkmanager configure (final)", backend: survey.NetworkManager, asked: 1, validates: "netplan networkmanager"},
		"the host has changed sides to netplan": {stack: netplanOwns, record: []plan.Owned{{MAC: c.MAC, Config: c, Applied: true, Backend: survey.NetworkManager}}, gone: []string{survey.NetworkManager},
			want: "netplan validates, networkmanager remove, netplan configure (final)", backend: survey.Netplan, asked: 1, validates: "netplan networkmanager"},
		"multinicd.toml has the last word": {stack: netplanOwns, setting: survey.NetworkManager, want: "networkmanager validates, networkmanager configure (final)", backend: survey.NetworkManager, asked: 1, validates: "networkmanager"},
		"multinicd.toml has another word than before": {stack: netplanOwns, setting: survey.NetworkManager, record: []plan.Owned{{MAC: c.MAC, Config: c, Applied: true, Backend: survey.Netplan}},
			want: "networkmanager validates, netplan remove, networkmanager configure (final)", backend: survey.NetworkManager, asked: 1, validates: "netplan networkmanager"},
		"multinicd.toml says what is so anyway": {stack: managerOwns, setting: survey.NetworkManager, want: "networkmanager validates, networkmanager configure (final)", backend: survey.NetworkManager, asked: 1, validates: "networkmanager"},
		"nobody owns the link":                  {stack: survey.Stack{Refusal: "wicked configures the network here"}, want: "NoBackend: wicked configures the network here", asked: 1},
		"a backend that is not built in":        {stack: survey.Stack{Backend: "x"}, want: "NoBackend: backend \"x\": this version does not write it", asked: 1},
		"who wrote it takes it back": {stack: netplanOwns, record: []plan.Owned{{MAC: c.MAC, Config: c, Applied: true, Backend: survey.NetworkManager}}, gone: []string{survey.NetworkManager},
			kind: plan.Remove, want: "networkmanager validates, networkmanager remove (final)", validates: "networkmanager"},
	} {
		t.Run(name, func(t *testing.T) {
			var validated []string
			f := &fakeStacks{stack: test.stack, gone: test.gone}
			d := &Dispatch{stacks: f, name: "auto", log: slog.New(slog.DiscardHandler), said: map[string]bool{},
				record: func() plan.Record { return plan.Record{NICs: test.record} },
				backends: map[string]apply.Backend{survey.Netplan: fakeBackend{survey.Netplan, "/etc/netplan/90-multinic1.yaml", &validated},
					survey.NetworkManager: fakeBackend{survey.NetworkManager, "/etc/NetworkManager/system-connections/multinic1.nmconnection", &validated}}}
			if test.setting != "" {
				d.name = test.setting
			}
			after := plan.Owned{MAC: c.MAC, Config: c, Applied: true}
			a := plan.Action{Kind: plan.Configure, NIC: c, Link: &nic.Link{Index: 3, Name: "eth1", MAC: c.MAC}, After: &after}
			if test.kind == plan.Remove {
				a.Kind, a.After = plan.Remove, nil
			}
			steps, err := d.Steps(t.Context(), a)
			var refused *plan.RefusalError
			var got []string
			switch {
			case errors.As(err, &refused):
				got = append(got, string(refused.Refusal.Reason)+": "+refused.Refusal.Message)
			case err != nil:
				t.Fatal(err)
			}
			for _, s := range steps {
				final := ""
				if s.Final {
					final = " (final)"
				}
				got = append(got, string(s.Kind)+final)
			}
			if diff := cmp.Diff(test.want, strings.Join(got, ", ")); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if after.Backend != test.backend || f.asked != test.asked {
				t.Errorf("noted backend %q after %d questions, want %q after %d", after.Backend, f.asked, test.backend, test.asked)
			}
			if len(steps) > 0 {
				if err := d.Validate(t.Context(), steps); err != nil {
					t.Fatal(err)
				}
			}
			if got := strings.Join(validated, " "); got != test.validates {
				t.Errorf("validated by %q, want %q", got, test.validates)
			}
		})
	}
}

// slowStacks is a host whose NetworkManager takes its time.
type slowStacks struct{ asked chan struct{} }

func (s slowStacks) Detect(ctx context.Context) (survey.Stack, error) {
	return s.Stack(ctx, nic.Link{})
}
func (s slowStacks) Has(string) bool { return true }
func (s slowStacks) Stack(ctx context.Context, _ nic.Link) (survey.Stack, error) {
	close(s.asked)
	<-ctx.Done()
	return survey.Stack{}, context.Cause(ctx)
}

// A stop of the service is not to wait for the bus.
func TestTheQuestionWhoOwnsALinkEndsWithItsCaller(t *testing.T) {
	link := nic.Link{Index: 3, MAC: nic.MAC{2, 0, 0, 0, 1, 1}}
	for name, ask := range map[string]func(*Dispatch, context.Context){
		"of one link": func(d *Dispatch, ctx context.Context) {
			_, _ = d.Steps(ctx, plan.Action{Kind: plan.Configure, NIC: nic.Config{MAC: link.MAC}, Link: &link, After: &plan.Owned{}})
		},
		"of the host": func(d *Dispatch, ctx context.Context) { d.Unsupported(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				s := slowStacks{make(chan struct{})}
				d := &Dispatch{stacks: s, name: "auto", record: func() plan.Record { return plan.Record{} }}
				ctx, cancel := context.WithCancel(t.Context())
				go func() { <-s.asked; cancel() }()
				ask(d, ctx)
				if took := time.Since(began); took != 0 {
					t.Errorf("it went on for %s", took)
				}
			})
		})
	}
}

// A file that cannot be read at the start is no reason not to look after the NICs.
func TestWhoConfiguresTheNetworkCannotBeTold(t *testing.T) {
	d := &Dispatch{stacks: &fakeStacks{err: errors.New("input/output error")}, name: "auto", log: slog.New(slog.DiscardHandler)}
	if s := d.Detect(t.Context()); s.Backend != "" || len(s.Evidence) != 1 || !strings.HasSuffix(s.Evidence[0], "input/output error") {
		t.Errorf("got %+v", s)
	}
	if why := d.Unsupported(t.Context()); why != "" {
		t.Errorf("nothing at all would be done: %s", why)
	}
	d.name = survey.NetworkManager
	if s := d.Detect(t.Context()); s.Backend != survey.NetworkManager || len(s.Evidence) != 2 {
		t.Errorf("multinicd.toml says which, and it is %+v", s)
	}
}
