package daemon

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/internal/apply"
	"multinicd/internal/daemon/asked"
	"multinicd/internal/daemon/status"
	"multinicd/nic"
	"multinicd/plan"
)

// What the days are about.
const cidr1, cidr2 = "192.0.2.1/24", "198.51.100.1/24"

// failed has the change of a NIC fail.
func (w *world) failed() {
	w.refusing(func() { w.tell(asked.Wish{Object: object("u1", 1, cidr1)}) })
}

// fought has somebody fight about one NIC of two.
func (w *world) fought() {
	w.tell(asked.Wish{Object: object("u1", 1, cidr1, cidr2)})
	w.fightFor(5 * time.Second)
}

// spoiled changes the first entry of an object.
func spoiled(obj *v1.MultiNicNodeConfig, how func(*v1.Interface)) *v1.MultiNicNodeConfig {
	how(&obj.Spec.Interfaces[0])
	return obj
}

// calmDays have nothing in them that goes on to fail.
var calmDays = map[string]day{
	"all is as wanted":        {nil, func(w *world) { w.tell(asked.Wish{Object: object("u1", 1, cidr1, cidr2)}) }, calm{}},
	"nothing is known":        {nil, func(*world) {}, calm{}},
	"the object names no NIC": {nil, func(w *world) { w.tell(asked.Wish{Object: object("u1", 1)}) }, calm{}},
}

// failedDays follow a change that failed.
var failedDays = map[string]day{
	"a NIC fails for ever": {nil, func(w *world) {
		w.machine.Refuse = errors.New("no")
		w.tell(asked.Wish{Object: object("u1", 1, cidr1)})
	}, calm{tried: 1}},
	"a NIC failed and was right": {nil, func(w *world) { w.failed(); sleep(time.Minute); w.want("multinic1 192.0.2.1/24") }, calm{}},
	"a NIC failed and left the object": {nil, func(w *world) {
		w.failed()
		w.tell(asked.Wish{Object: object("u1", 2)})
	}, calm{}},
	"a NIC failed and was replaced by one with another MAC": {nil, func(w *world) {
		w.failed()
		w.tell(asked.Wish{Object: spoiled(object("u1", 2, cidr2), func(n *v1.Interface) { n.MACAddress = "02:00:00:00:01:02" })})
	}, calm{}},
	"a NIC failed and its entry cannot be read any more": {nil, func(w *world) {
		w.failed()
		w.tell(asked.Wish{Object: spoiled(object("u1", 2, cidr1), func(n *v1.Interface) { n.CIDR = "192.0.2.300/24" })})
	}, calm{}},
	"a NIC failed and its MAC cannot be read any more": {nil, func(w *world) {
		w.failed()
		w.tell(asked.Wish{Object: spoiled(object("u1", 2, cidr1), func(n *v1.Interface) { n.MACAddress = "nonsense" })})
	}, calm{}},
	"a NIC failed and was unplugged": {nil, func(w *world) {
		w.failed()
		w.machine.Net = w.machine.Net[1:]
		w.wake <- struct{}{}
	}, calm{}},
	"a NIC failed and the object was rolled back by hand": {nil, func(w *world) {
		w.tell(asked.Wish{Object: object("u1", 1, cidr2)})
		w.refusing(func() { w.tell(asked.Wish{Object: object("u1", 2, cidr2, cidr1)}) })
		w.daemon.ask(w.t.Context(), AskRollback)
	}, calm{}},
	"a NIC failed and all was given back by hand": {nil, func(w *world) {
		w.failed()
		w.daemon.ask(w.t.Context(), AskCleanup)
	}, calm{}},
	"a NIC failed and the cluster had all given back": {nil, func(w *world) {
		w.failed()
		w.tell(ask(object("u1", 1, cidr1), "run-1", v1.ActionCleanup))
	}, calm{}},
	"a NIC failed and the object was refused": {nil, func(w *world) {
		w.failed()
		obj := object("u1", 2, cidr1)
		obj.Spec.NodeName = "n2"
		w.tell(asked.Wish{Object: obj})
	}, calm{}},
	"a NIC failed and the object cannot be read any more": {nil, func(w *world) {
		w.failed()
		w.tell(asked.Wish{Unread: &asked.Unread{UID: "u1", Generation: 2, Message: "spec.interfaces: nonsense"}})
	}, calm{}},
	"a NIC failed and a run was asked for": {nil, func(w *world) {
		w.failed()
		w.tell(ask(object("u1", 1, cidr1), "run-1", v1.ActionTrigger))
	}, calm{}},
	"a NIC fails for ever and a run was asked for": {nil, func(w *world) {
		w.machine.Refuse = errors.New("no")
		w.tell(asked.Wish{Object: object("u1", 1, cidr1)})
		w.tell(ask(object("u1", 1, cidr1), "run-1", v1.ActionTrigger))
	}, calm{tried: 1}},
	"a NIC failed and the object was deleted, with retain": {nil, func(w *world) {
		w.failed()
		w.tell(asked.Wish{Gone: true})
	}, calm{}},
	"a NIC failed and the object was deleted, with restore": {func(d *Daemon) { d.OnDelete = "restore" }, func(w *world) {
		w.failed()
		w.tell(asked.Wish{Gone: true})
	}, calm{}},
}

// blockedDays have a NIC of which nothing can be done now, or not all.
var blockedDays = map[string]day{
	"a NIC cannot be given back": {func(d *Daemon) { d.OnDelete = "restore" }, func(w *world) {
		w.tell(asked.Wish{Object: object("u1", 1, cidr1)})
		w.machine.Disk["/etc/netplan/50.yaml"] = []byte("network: {}\n") // of others, and new: netplan is asked
		w.machine.Refuse = errors.New("no")
		w.tell(asked.Wish{Gone: true})
	}, calm{tried: 1}},
	"an undo failed, and fails for ever": {nil, func(w *world) {
		w.machine.FailFrom = 4
		w.tell(asked.Wish{Object: object("u1", 1, cidr1, cidr2)})
	}, calm{tried: 2, looks: 10}},
	"a change fails for ever, and its undo only the first time": {nil, func(w *world) {
		w.machine.Refuse, w.machine.Slips = errors.New("no"), true
		w.tell(asked.Wish{Object: object("u1", 1, cidr1)})
		if n := w.daemon.Status().NICs[0]; n.Outcome != apply.RollbackFailed {
			w.t.Errorf("it is %+v", n)
		}
		sleep(time.Minute)
		if n := w.daemon.Status().NICs[0]; n.Outcome != apply.RolledBack || n.Reason != string(plan.ValidationFailed) || !n.NextTry.After(time.Now()) {
			w.t.Errorf("it is %+v", n)
		}
	}, calm{tried: 1, looks: 10, reported: 12, write: true, lines: 40}}, // each of six tries is two changes of state
	"an undo failed once": {nil, func(w *world) {
		w.machine.FailFrom = 4
		w.tell(asked.Wish{Object: object("u1", 1, cidr1)})
		w.machine.FailFrom = 0
	}, calm{}},
	"the API server does not answer after the change": {nil, func(w *world) {
		w.probed = func(context.Context) error { return errors.New("no answer") }
		w.tell(asked.Wish{Object: object("u1", 1, cidr1)})
	}, calm{tried: 1}},
	"a neighbour holds the address": {nil, func(w *world) {
		w.machine.Neighbours = map[netip.Addr]nic.MAC{netip.MustParseAddr("192.0.2.1"): {2, 9}}
		w.tell(asked.Wish{Object: object("u1", 1, cidr1)})
	}, calm{tried: 1}},
	"the NIC is not plugged in": {nil, func(w *world) {
		w.machine.Net = w.machine.Net[1:]
		w.tell(asked.Wish{Object: object("u1", 1, cidr1, cidr2)})
	}, calm{}},
	"the NIC is refused: the node lives by it": {nil, func(w *world) {
		w.machine.Net[0].Routes = []nic.Route{{To: netip.MustParsePrefix("0.0.0.0/0")}}
		w.tell(asked.Wish{Object: object("u1", 1, cidr1, cidr2)})
	}, calm{}},
	"a NIC failed and then became one that the node lives by": {nil, func(w *world) {
		w.failed()
		w.machine.Net[0].Routes = []nic.Route{{To: netip.MustParsePrefix("0.0.0.0/0")}}
		w.wake <- struct{}{}
	}, calm{}},
}

// foughtDays follow a fight about a NIC, or are in the midst of one.
var foughtDays = map[string]day{
	"a fight has ended": {nil, (*world).fought, calm{}},
	"a fight goes on":   {nil, func(w *world) { w.fought(); w.fight.Store(true) }, calm{looks: 180, lines: 300}},
	"somebody has edited a file": {nil, func(w *world) {
		w.tell(asked.Wish{Object: object("u1", 1, cidr1)})
		w.edit([]byte("network: {}\n"))
	}, calm{}},
	"a file was fought about": {nil, func(w *world) {
		w.tell(asked.Wish{Object: object("u1", 1, cidr1)})
		for range 60 {
			w.edit([]byte("network: {}\n"))
		}
	}, calm{}},
	"a NIC was fought about and left": {nil, func(w *world) { w.fought(); w.tell(asked.Wish{Object: object("u1", 2)}) }, calm{}},
	"a NIC was fought about and fails": {nil, func(w *world) {
		w.fought()
		w.machine.Refuse = errors.New("no")
		w.tell(asked.Wish{Object: object("u1", 2, cidr2)})
	}, calm{tried: 1}},
	"a NIC was fought about and its entry cannot be read any more": {nil, func(w *world) {
		w.fought()
		w.tell(asked.Wish{Object: spoiled(object("u1", 2, cidr1, cidr2), func(n *v1.Interface) { n.CIDR = "192.0.2.300/24" })})
	}, calm{}},
	"a NIC was fought about and the object was deleted": {nil, func(w *world) { w.fought(); w.tell(asked.Wish{Gone: true}) }, calm{}},
	"a NIC was fought about and was unplugged": {nil, func(w *world) {
		w.fought()
		w.machine.Net = w.machine.Net[1:]
		w.wake <- struct{}{}
	}, calm{}},
	"each repair is undone before it is verified": {nil, func(w *world) {
		w.tell(asked.Wish{Object: object("u1", 1, cidr1)})
		w.step = func(name string) {
			if name == "verify" {
				w.machine.Net[0].Addresses = nil
			}
		}
		w.machine.Net[0].Addresses = nil
		w.wake <- struct{}{}
		sleep(2 * time.Minute)
	}, calm{looks: 180, lines: 300}},
	"a repair that cannot be verified became a fight": {nil, func(w *world) {
		w.tell(asked.Wish{Object: object("u1", 1, cidr1)})
		w.probed = func(context.Context) error { w.machine.Net[0].Addresses = nil; return errors.New("no answer") }
		w.machine.Net[0].Addresses = nil
		w.wake <- struct{}{}
		sleep(2 * time.Minute)
	}, calm{tried: 6}},
	"a repair that could not be verified became a fight, and peace came": {nil, func(w *world) {
		w.tell(asked.Wish{Object: object("u1", 1, cidr1)})
		w.probed = func(context.Context) error { w.machine.Net[0].Addresses = nil; return errors.New("no answer") }
		w.machine.Net[0].Addresses = nil
		w.wake <- struct{}{}
		sleep(2 * time.Minute)
		w.probed = nil
	}, calm{}},
	"a NIC was fought about and is half way": {nil, func(w *world) {
		w.fought()
		w.machine.FailFrom = w.machine.Ops + 4 // behind its journal
		w.wake <- struct{}{}
		sleep(2 * time.Minute)
		if n := w.daemon.Status().NICs[0]; n.Outcome != apply.RollbackFailed {
			w.t.Errorf("it is %+v", n)
		}
	}, calm{tried: 1, looks: 10}},
	"a NIC was fought about and is refused before anything is tried": {func(d *Daemon) { d.Applier = applier{Applier: d.Applier, refuses: new(atomic.Bool)} }, func(w *world) {
		w.fought()
		a, ok := w.daemon.Applier.(applier)
		if !ok {
			w.t.Fatalf("the applier is a %T", w.daemon.Applier)
		}
		a.refuses.Store(true)
	}, calm{}},
	"a file of a NIC that was fought about cannot be written": {nil, func(w *world) {
		w.fought()
		for name := range w.machine.Disk {
			if name != "/state/record.json" {
				delete(w.machine.Disk, name)
			}
		}
		w.machine.Refuse = errors.New("no")
	}, calm{tried: 2}},
}

// clusterDays have trouble with the object, or with the way to it.
var clusterDays = map[string]day{
	"a generation waits for its release": {nil, func(w *world) { w.tell(released(object("u1", 1, cidr1), -1, 1)) }, calm{}},
	"a NIC failed and the next generation waits for its release": {nil, func(w *world) {
		w.refusing(func() { w.tell(released(object("u1", 1, cidr1), 1, 1)) })
		w.tell(released(object("u1", 2, cidr2), 1, 2))
	}, calm{}},
	"the object is for another machine": {nil, func(w *world) {
		w.ids = []string{"i-2"}
		obj := object("u1", 1, cidr1)
		obj.Spec.InstanceID = "i-1"
		w.tell(asked.Wish{Object: obj})
	}, calm{}},
	"the host is not supported": {func(d *Daemon) {
		d.Unsupported = func(context.Context) string { return "nobody configures the network here" }
	}, func(w *world) {
		w.tell(asked.Wish{Object: object("u1", 1, cidr1)})
	}, calm{}},
	"there is no API server": {nil, func(w *world) {
		w.tell(asked.Wish{Object: object("u1", 1, cidr1)})
		w.down.Store(true)
		w.tell(asked.Wish{Err: errors.New("unreachable")})
		w.tell(asked.Wish{Err: errors.New("unreachable")})
	}, calm{}},
	"the report cannot be delivered":   {nil, func(w *world) { w.down.Store(true); w.tell(asked.Wish{Object: object("u1", 1, cidr1)}) }, calm{deliver: true, write: false}},
	"the server asks to be left alone": {nil, func(w *world) { w.busy.Store(int64(time.Minute)); w.tell(asked.Wish{Object: object("u1", 1, cidr1)}) }, calm{deliver: true}},
	"the cluster never shows the report": {nil, func(w *world) {
		obj := object("u1", 1, cidr1)
		obj.Status.ObservedGeneration = 0
		w.tell(asked.Wish{Object: obj})
	}, calm{deliver: true, reported: hourly + 1, write: true}},
	"there is no cluster and no object": {func(d *Daemon) { d.Reporter, d.Keeper = nil, nil }, func(w *world) {
		w.tell(asked.Wish{Idle: "no way to the API is configured"})
		w.tell(asked.Wish{Idle: "no way to the API is configured"})
	}, calm{}},
	"the object comes from a file that is read every second": {func(d *Daemon) { d.Reporter, d.Keeper = nil, nil; d.Source = everySecond{object("", 0, cidr1)} }, func(*world) {}, calm{}},
	"the file cannot be read":                                {func(d *Daemon) { d.Reporter, d.Keeper = nil, nil; d.Source = everySecond{} }, func(*world) {}, calm{}},
	"the credential is taken no more": {nil, func(w *world) {
		w.tell(asked.Wish{Object: object("u1", 1, cidr1)})
		w.credential(status.Credential{JoinNeeded: "join again", ClockKnown: true})
	}, calm{}},
}

// hostDays have trouble with the host, or with the daemon itself.
var hostDays = map[string]day{
	"every part ends as soon as it has begun": {func(d *Daemon) {
		p := part{new(atomic.Int64), new(atomic.Int64), nil}
		d.Source, d.Keeper = partSource{p}, partKeeper{p}
	}, func(*world) {}, calm{}},
	"the machine cannot be read any more when a NIC is just coming": {nil, func(w *world) {
		w.machine.Net, w.mute = w.machine.Net[:1], true
		w.step = func(name string) {
			if name == "verify" {
				w.machine.Net = append(w.machine.Net, link(2))
			}
		}
		w.tell(asked.Wish{Object: object("u1", 1, cidr1, cidr2)})
		if len(w.reports) > 0 {
			w.t.Errorf("nothing waits: %+v", w.reports)
		}
		w.dark.Store(true)
		sleep(heldBack)
		if r := w.lastReport(); r.Interfaces[0].Status != v1.StateConfigured {
			w.t.Errorf("the report is %+v", r)
		}
	}, calm{looks: 60}},
	"the machine cannot be read": {nil, func(w *world) {
		w.tell(asked.Wish{Object: object("u1", 1, cidr1)})
		w.dark.Store(true)
		w.wake <- struct{}{}
	}, calm{looks: 60}},
	"the state folder cannot be written": {nil, func(w *world) {
		w.state.FailFrom = 1
		w.tell(asked.Wish{Object: object("u1", 1, cidr1)})
	}, calm{looks: 60, write: true}},
}

// everySecond is a source that tells of the same object each second, or that there is none to be read.
type everySecond struct{ obj *v1.MultiNicNodeConfig }

func (s everySecond) Run(ctx context.Context, notify func(asked.Wish)) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if s.obj == nil {
			notify(asked.Wish{Err: errors.New("reading the object: no such file")})
		} else {
			notify(asked.Wish{Object: s.obj.DeepCopy(), Contact: time.Now()})
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
