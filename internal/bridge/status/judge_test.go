package status

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/bridgetest"
	"multinicd/internal/bridge/gather"
)

func TestStatus(t *testing.T) {
	healthy := gather.Pulse{Seen: bridgetest.Clock(-time.Minute), Moved: true}
	quiet := gather.Pulse{Seen: bridgetest.Clock(-v1.SilentAfter), Moved: true}
	done := func(generation int64) v1.MultiNicNodeConfigStatus {
		return Status(In{
			Object: bridgetest.Object(generation), Report: bridgetest.Said(t, bridgetest.Report(generation, bridgetest.Configured(1), bridgetest.Configured(2))),
			Pulse: gather.Pulse{Seen: bridgetest.Clock(-time.Hour)}, Now: bridgetest.Clock(-time.Hour),
		})
	}
	after := func(s v1.MultiNicNodeConfigStatus) func(*v1.MultiNicNodeConfig) {
		return func(o *v1.MultiNicNodeConfig) { o.Status = s }
	}
	saidSilent := Status(In{
		Object: bridgetest.Object(1, after(done(1))), Report: bridgetest.Said(t, bridgetest.Report(1, bridgetest.Configured(1), bridgetest.Configured(2))),
		Pulse: quiet, Now: bridgetest.Noon,
	})
	// A daemon has renewed the Lease, and does no more.
	once := gather.Pulse{Seen: bridgetest.Clock(-v1.SilentAfter), Moved: true, Renewed: true}
	beforeJob := gather.Pulse{Seen: bridgetest.Clock(-2 * time.Hour), Moved: true, Renewed: true}
	byJob := func() gather.Report {
		r := bridgetest.Report(1, bridgetest.Configured(1), bridgetest.Configured(2))
		r.Executor = v1.ExecutorJob
		return bridgetest.Said(t, r)
	}()
	goneSilent := Status(In{Object: bridgetest.Object(1, after(done(1))), Pulse: once, Now: bridgetest.Noon})

	const (
		allDone = "All 2 interfaces configured successfully"
		calm    = "Degraded=False AsExpected\nProgressing=False Settled\n"
		nics    = "\nmultinic1 02:00:00:00:01:0a Configured Configured\nmultinic2 02:00:00:00:01:02 Configured Configured"
		good    = "Configured 2/2 generation 1 hash-1\n" + calm + "Ready=True AllInterfacesConfigured " + allDone + nics
		unheard = "Pending 0/2 generation 1 hash-1\nDegraded=False AsExpected\n" +
			"Progressing=True NoReport waiting for the node's first report\n" +
			"Ready=Unknown NoReport the node has not reported on this object yet: is multinicd running and joined there?" +
			"\nmultinic1 02:00:00:00:01:0a Pending NoReport\nmultinic2 02:00:00:00:01:02 Pending NoReport"
		second = "InProgress 0/2 generation 2 hash-2\nDegraded=False AsExpected\n" +
			"Progressing=True Applying generation 2 is being applied\nReady=False Applying generation 2 is being applied" +
			"\nmultinic1 02:00:00:00:01:0a InProgress Applying\nmultinic2 02:00:00:00:01:02 InProgress Applying"
		noMAC = "spec.interfaces[0].macAddress: macAddress must be the NIC's own address, six hexadecimal bytes with colons, such as 02:00:00:00:01:01"
		lost  = "Ready=Unknown NodeSilent the node has stopped renewing its Lease; what is said here is the last it said"
	)

	noted := func() gather.Report {
		r := bridgetest.Report(1, bridgetest.Configured(1), bridgetest.Configured(2))
		r.Degraded = &v1.Remark{Reason: v1.ReasonIdentityUnverified, Message: "nothing to compare"}
		return bridgetest.Said(t, r)
	}()
	withNote := "Configured 2/2 generation 1 hash-1\nDegraded=False AsExpected IdentityUnverified: nothing to compare\n" +
		"Progressing=False Settled\nReady=True AllInterfacesConfigured " + allDone + nics

	for name, tc := range map[string]struct {
		in   In
		want string
	}{
		"an object that no node has spoken about is Pending": {
			In{Object: bridgetest.Object(1)}, unheard,
		},
		"a report of its uid and generation makes it Configured": {
			In{Object: bridgetest.Object(1), Report: bridgetest.Said(t, bridgetest.Report(1, bridgetest.Configured(2), bridgetest.Configured(1)))}, good,
		},
		"a report for another uid does not count": {
			In{Object: bridgetest.Object(1), Report: func() gather.Report {
				r := bridgetest.Report(1, bridgetest.Configured(1), bridgetest.Configured(2))
				r.UID = "uid-before"
				return bridgetest.Said(t, r)
			}()}, unheard,
		},
		"a report of another node does not count, and is said to be wrong": {
			In{Object: bridgetest.Object(1), Report: func() gather.Report {
				r := bridgetest.Report(1, bridgetest.Configured(1), bridgetest.Configured(2))
				r.Node = "worker-node-02"
				return bridgetest.Said(t, r)
			}()},
			"Pending 0/2 generation 1 hash-1\nDegraded=True ReportRefused report refused: it speaks for another node\n" +
				"Progressing=True NoReport waiting for the node's first report\n" +
				"Ready=Unknown ReportRefused report refused: it speaks for another node" +
				"\nmultinic1 02:00:00:00:01:0a Pending NoReport\nmultinic2 02:00:00:00:01:02 Pending NoReport",
		},
		"a new generation is InProgress at once, while the report is of the older one": {
			In{Object: bridgetest.Object(2, after(done(1))), Report: bridgetest.Said(t, bridgetest.Report(1, bridgetest.Configured(1), bridgetest.Configured(2)))}, second,
		},
		"a report of an older generation never makes a newer one Configured": {
			In{Object: bridgetest.Object(2), Report: bridgetest.Said(t, bridgetest.Report(1, bridgetest.Configured(1), bridgetest.Configured(2)))}, second,
		},
		"a report of a generation that the object does not have yet says nothing": {
			In{Object: bridgetest.Object(2, after(done(1))), Report: bridgetest.Said(t, bridgetest.Report(3, bridgetest.Configured(1), bridgetest.Configured(2)))}, second,
		},
		"a node that went back to an older generation is InProgress again": {
			In{Object: bridgetest.Object(2, after(done(2))), Report: bridgetest.Said(t, bridgetest.Report(1, bridgetest.Configured(1), bridgetest.Configured(2)))}, second,
		},
		"a NIC that failed outweighs one that waits": {
			In{Object: bridgetest.Object(1), Report: bridgetest.Said(t, bridgetest.Report(1,
				bridgetest.NIC(1, v1.StatePending, v1.ReasonWaitingForNIC, ""),
				bridgetest.NIC(2, v1.StateFailed, v1.ReasonProtectedLink, "it carries the default route")))},
			"Failed 0/2 generation 1 hash-1\n" +
				"Degraded=True InterfacesFailed 0 of 2 interfaces configured; multinic2: ProtectedLink: it carries the default route\n" +
				"Progressing=False Settled\n" +
				"Ready=False InterfacesFailed 0 of 2 interfaces configured; multinic2: ProtectedLink: it carries the default route" +
				"\nmultinic1 02:00:00:00:01:0a Pending WaitingForNIC" +
				"\nmultinic2 02:00:00:00:01:02 Failed ProtectedLink it carries the default route",
		},
		"a NIC that waits outweighs a change that runs": {
			In{Object: bridgetest.Object(1), Report: func() gather.Report {
				r := bridgetest.Report(1, bridgetest.NIC(1, v1.StateInProgress, v1.ReasonApplying, ""), bridgetest.NIC(2, v1.StatePending, v1.ReasonWaitingForNIC, ""))
				r.Phase = v1.PhaseApplying
				return bridgetest.Said(t, r)
			}()},
			"Pending 0/2 generation 1 hash-1\n" + calm +
				"Ready=False InterfacesWaiting 0 of 2 interfaces configured; multinic2: WaitingForNIC" +
				"\nmultinic1 02:00:00:00:01:0a InProgress Applying\nmultinic2 02:00:00:00:01:02 Pending WaitingForNIC",
		},
		"a change that runs outweighs NICs that are configured": {
			In{Object: bridgetest.Object(2), Report: func() gather.Report {
				r := bridgetest.Report(2)
				r.Phase = v1.PhaseApplying
				return bridgetest.Said(t, r)
			}()}, second,
		},
		"a refused object is Failed with the node's reason, and so is each NIC": {
			In{Object: bridgetest.Object(1), Report: func() gather.Report {
				r := bridgetest.Report(1)
				r.Refused = &v1.Remark{Reason: v1.ReasonIdentityMismatch, Message: "this host is i-2"}
				return bridgetest.Said(t, r)
			}()},
			"Failed 0/2 generation 1 hash-1\nDegraded=True IdentityMismatch this host is i-2\nProgressing=False Settled\n" +
				"Ready=False IdentityMismatch this host is i-2" +
				"\nmultinic1 02:00:00:00:01:0a Failed IdentityMismatch this host is i-2" +
				"\nmultinic2 02:00:00:00:01:02 Failed IdentityMismatch this host is i-2",
		},
		"a remark degrades an object that is Configured": {
			In{Object: bridgetest.Object(1), Report: func() gather.Report {
				r := bridgetest.Report(1, bridgetest.Configured(1), bridgetest.Configured(2))
				r.Degraded = &v1.Remark{Reason: v1.ReasonClockSkew, Message: "behind"}
				return bridgetest.Said(t, r)
			}()},
			"Configured 2/2 generation 1 hash-1\nDegraded=True ClockSkew behind\n" +
				"Progressing=False Settled\nReady=True AllInterfacesConfigured " + allDone + nics,
		},
		"a note degrades nothing, and is told": {In{Object: bridgetest.Object(1), Report: noted}, withNote},
		"a note that an older bridge took for a degradation is one no more": {
			In{Object: bridgetest.Object(1, after(done(1)), func(o *v1.MultiNicNodeConfig) {
				c := meta.FindStatusCondition(o.Status.Conditions, v1.ConditionDegraded)
				c.Status, c.Reason, c.Message = metav1.ConditionTrue, v1.ReasonIdentityUnverified, "nothing to compare"
			}), Job: "job-1"}, withNote,
		},
		"a note stays where the report is lost": {
			In{Object: bridgetest.Object(1, after(Judge(In{Object: bridgetest.Object(1), Report: noted, Now: bridgetest.Noon}).Status)), Job: "job-1"}, withNote,
		},
		"a NIC that the report leaves out is Pending, one that the object does not have is left out": {
			In{Object: bridgetest.Object(1), Report: func() gather.Report {
				extra := bridgetest.Configured(1)
				extra.ID, extra.Name, extra.MACAddress = 7, "multinic7", "02:00:00:00:01:07"
				return bridgetest.Said(t, bridgetest.Report(1, bridgetest.Configured(1), extra))
			}()},
			"Pending 1/2 generation 1 hash-1\n" + calm +
				"Ready=False InterfacesWaiting 1 of 2 interfaces configured; multinic2: NoReport: the node did not report on this NIC" +
				"\nmultinic1 02:00:00:00:01:0a Configured Configured" +
				"\nmultinic2 02:00:00:00:01:02 Pending NoReport the node did not report on this NIC",
		},
		"NICs are known by MAC: what the report calls them does not count": {
			In{Object: bridgetest.Object(1), Report: func() gather.Report {
				a, b := bridgetest.Configured(1), bridgetest.Configured(2)
				a.ID, a.Name, b.ID, b.Name = 8, "eth8", 9, "eth9"
				return bridgetest.Said(t, bridgetest.Report(1, a, b))
			}()}, good,
		},
		"an entry whose MAC cannot be read is Failed: no row of a report can name it": {
			In{Object: bridgetest.Object(1, func(o *v1.MultiNicNodeConfig) {
				o.Spec.Interfaces[0].MACAddress, o.Spec.Interfaces[1].ID = "02-00-00-00-01-02", new(int32(1<<30))
			}), Report: func() gather.Report {
				a, b := bridgetest.NIC(-1, v1.StateFailed, v1.ReasonInvalidSpec, "spec.interfaces[0].macAddress: no MAC"), bridgetest.NIC(1, v1.StateFailed, v1.ReasonInvalidSpec, "no id")
				a.Name, a.MACAddress, b.ID, b.Name = "", v1.NoMAC, -1, ""
				return bridgetest.Said(t, bridgetest.Report(1, a, b))
			}()},
			"Failed 0/2 generation 1 hash-1\n" +
				"Degraded=True InterfacesFailed 0 of 2 interfaces configured; 02:00:00:00:01:0a: InvalidSpec: no id; multinic2: InvalidSpec: " + noMAC + "\n" +
				"Progressing=False Settled\n" +
				"Ready=False InterfacesFailed 0 of 2 interfaces configured; 02:00:00:00:01:0a: InvalidSpec: no id; multinic2: InvalidSpec: " + noMAC +
				"\n02:00:00:00:01:0a Failed InvalidSpec no id\nmultinic2 02-00-00-00-01-02 Failed InvalidSpec " + noMAC,
		},
		"such an entry waits for its release with the others": {
			In{Object: bridgetest.Object(1, func(o *v1.MultiNicNodeConfig) { o.Spec.Interfaces[0].MACAddress = "x" }), Report: bridgetest.Said(t, bridgetest.Report(1,
				bridgetest.NIC(1, v1.StatePending, v1.ReasonWaitingForRelease, v1.WaitingForReleaseMessage)))},
			"Pending 0/2 generation 1 hash-1\n" + calm + "Ready=False InterfacesWaiting 0 of 2 interfaces configured; multinic1: WaitingForRelease: " + v1.WaitingForReleaseMessage +
				"; multinic2: WaitingForRelease: " + v1.WaitingForReleaseMessage +
				"\nmultinic1 02:00:00:00:01:0a Pending WaitingForRelease " + v1.WaitingForReleaseMessage + "\nmultinic2 x Pending WaitingForRelease " + v1.WaitingForReleaseMessage,
		},
		"NICs that were given back are Pending": {
			In{Object: bridgetest.Object(1), Report: func() gather.Report {
				r := bridgetest.Report(1)
				r.Phase = v1.PhaseRemoved
				return bridgetest.Said(t, r)
			}()},
			"Pending 0/2 generation 1 hash-1\n" + calm +
				"Ready=False Removed every NIC was given back, as the cluster asked; multinic-bridge trigger, or the next change of the object, configures them again" +
				"\nmultinic1 02:00:00:00:01:0a Pending Removed\nmultinic2 02:00:00:00:01:02 Pending Removed",
		},
		"NICs that were given back by hand say how they are configured again": {
			In{Object: bridgetest.Object(1), Report: func() gather.Report {
				r := bridgetest.Report(1)
				r.Phase, r.Degraded = v1.PhaseRemoved, &v1.Remark{Reason: v1.ReasonRemoved, Message: "given back by hand; restart it"}
				return bridgetest.Said(t, r)
			}()},
			"Pending 0/2 generation 1 hash-1\nDegraded=True Removed given back by hand; restart it\nProgressing=False Settled\n" +
				"Ready=False Removed given back by hand; restart it" +
				"\nmultinic1 02:00:00:00:01:0a Pending Removed\nmultinic2 02:00:00:00:01:02 Pending Removed",
		},
		"an object without NICs is Configured when the node says so": {
			In{Object: bridgetest.Object(1, func(o *v1.MultiNicNodeConfig) { o.Spec.Interfaces = nil }), Report: bridgetest.Said(t, bridgetest.Report(1))},
			"Configured 0/0 generation 1 hash-1\n" + calm + "Ready=True AllInterfacesConfigured No interfaces are wanted",
		},
		"a garbage report keeps the state of this generation, but Ready is Unknown": {
			In{Object: bridgetest.Object(1, after(done(1))), Report: gather.ReadReport(bridgetest.Node, "\x1b[31m{")},
			"Configured 2/2 generation 1 hash-1\nDegraded=True ReportRefused report refused: invalid character '\\x1b' looking for beginning of value\n" +
				"Progressing=False Settled\n" +
				"Ready=Unknown ReportRefused report refused: invalid character '\\x1b' looking for beginning of value" + nics,
		},
		"a garbage report says nothing of a new generation": {
			In{Object: bridgetest.Object(2, after(done(1))), Report: gather.ReadReport(bridgetest.Node, "{}")},
			"InProgress 0/2 generation 2 hash-2\nDegraded=True ReportRefused report refused: schema is not multinic.io/report/v1\n" +
				"Progressing=True Applying generation 2 is being applied\n" +
				"Ready=Unknown ReportRefused report refused: schema is not multinic.io/report/v1" +
				"\nmultinic1 02:00:00:00:01:0a InProgress Applying\nmultinic2 02:00:00:00:01:02 InProgress Applying",
		},
		"a report that was lost changes nothing": {
			In{Object: bridgetest.Object(1, after(done(1)))}, good,
		},
		"a node whose Lease stands still for 6 minutes is silent: state kept, Ready Unknown": {
			In{Object: bridgetest.Object(1, after(done(1))), Report: bridgetest.Said(t, bridgetest.Report(1, bridgetest.Configured(1), bridgetest.Configured(2))), Pulse: quiet},
			"Configured 2/2 generation 1 hash-1\n" + calm + lost + nics,
		},
		"a moment before, it is not": {
			In{
				Object: bridgetest.Object(1, after(done(1))), Report: bridgetest.Said(t, bridgetest.Report(1, bridgetest.Configured(1), bridgetest.Configured(2))),
				Pulse: gather.Pulse{Seen: bridgetest.Clock(-v1.SilentAfter + 2*time.Second)},
			}, good,
		},
		"a node whose last report came from a Job is never silent": {
			In{Object: bridgetest.Object(1, after(done(1))), Pulse: beforeJob, Report: byJob, Jobs: true}, good,
		},
		"nor one that has never had a daemon": {
			In{Object: bridgetest.Object(1, after(done(1))), Pulse: quiet, Report: byJob}, good,
		},
		"a bridge that makes no Jobs does not believe in one: a Lease that was renewed once is judged": {
			In{Object: bridgetest.Object(1, after(done(1))), Pulse: beforeJob, Report: byJob},
			"Configured 2/2 generation 1 hash-1\n" + calm + lost + nics,
		},
		"nor does one that has seen the Lease move after the report": {
			In{Object: bridgetest.Object(1, after(done(1))), Pulse: once, Report: byJob, Jobs: true},
			"Configured 2/2 generation 1 hash-1\n" + calm + lost + nics,
		},
		"while the Job is there, it does": {
			In{Object: bridgetest.Object(1, after(done(1))), Pulse: once, Report: byJob, Jobs: true, Job: "multinic-agent-1"}, good,
		},
		"a node whose report is gone is silent all the same": {
			In{Object: bridgetest.Object(1, after(done(1))), Pulse: once}, "Configured 2/2 generation 1 hash-1\n" + calm + lost + nics,
		},
		"a node whose report cannot be read is silent all the same": {
			In{Object: bridgetest.Object(1, after(done(1))), Report: gather.ReadReport(bridgetest.Node, "{}"), Pulse: once},
			"Configured 2/2 generation 1 hash-1\nDegraded=True ReportRefused report refused: schema is not multinic.io/report/v1\n" +
				"Progressing=False Settled\n" + lost + nics,
		},
		"a node that joined, never reported and is gone is silent": {
			In{Object: bridgetest.Object(1), Pulse: once},
			strings.Replace(unheard, "Ready=Unknown NoReport the node has not reported on this object yet: is multinicd running and joined there?", lost, 1),
		},
		"a node without a report whose Lease moves again is silent no more": {
			In{Object: bridgetest.Object(1, after(goneSilent)), Pulse: gather.Pulse{Seen: bridgetest.Clock(-time.Minute), Moved: true, Renewed: true}}, good,
		},
		"a node without a report that Jobs work on is not silent": {
			In{Object: bridgetest.Object(1, after(done(1))), Pulse: once, Job: "multinic-agent-1"}, good,
		},
		"a Lease that nobody has ever renewed says nothing": {
			In{Object: bridgetest.Object(1), Pulse: gather.Pulse{Seen: bridgetest.Clock(-time.Hour), Moved: true}}, unheard,
		},
		"a node without a Lease is not judged": {
			In{Object: bridgetest.Object(1, after(done(1))), Report: bridgetest.Said(t, bridgetest.Report(1, bridgetest.Configured(1), bridgetest.Configured(2)))}, good,
		},
		"a new generation of a silent node is InProgress, Ready Unknown": {
			In{Object: bridgetest.Object(2, after(done(1))), Report: bridgetest.Said(t, bridgetest.Report(1, bridgetest.Configured(1), bridgetest.Configured(2))), Pulse: quiet},
			strings.Replace(second, "Ready=False Applying generation 2 is being applied", lost, 1),
		},
		"a bridge that has just started goes on saying that a node is silent": {
			In{
				Object: bridgetest.Object(1, after(saidSilent)), Report: bridgetest.Said(t, bridgetest.Report(1, bridgetest.Configured(1), bridgetest.Configured(2))),
				Pulse: gather.Pulse{Seen: bridgetest.Noon},
			},
			"Configured 2/2 generation 1 hash-1\n" + calm + lost + nics,
		},
		"until the node's Lease moves": {
			In{Object: bridgetest.Object(1, after(saidSilent)), Report: bridgetest.Said(t, bridgetest.Report(1, bridgetest.Configured(1), bridgetest.Configured(2))), Pulse: healthy}, good,
		},
	} {
		t.Run(name, func(t *testing.T) {
			tc.in.Now = bridgetest.Noon
			before := tc.in.Object.DeepCopy()
			got := Status(tc.in)
			if diff := cmp.Diff(tc.want, bridgetest.Brief(got)); diff != "" {
				t.Fatalf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, tc.in.Object); diff != "" {
				t.Errorf("the object was changed (-before +after):\n%s", diff)
			}

			// Said again a moment later, nothing moves: what is equal is not
			// written.
			tc.in.Object = tc.in.Object.DeepCopy()
			tc.in.Object.Status = got
			tc.in.Now = bridgetest.Clock(time.Second)
			if diff := cmp.Diff(got, Status(tc.in)); diff != "" {
				t.Errorf("it does not come to rest (-first +second):\n%s", diff)
			}
			bridgetest.QuietHours(t, bridgetest.Noon, bridgetest.FewLooks, func(now time.Time) reconcile.Result {
				in := tc.in
				in.Object, in.Now = in.Object.DeepCopy(), now
				out := Judge(in)
				tc.in.Object.Status = out.Status
				return gather.Again(out.Again)
			})
		})
	}
}

func TestTimesMoveOnlyWithWhatTheyTime(t *testing.T) {
	o := bridgetest.Object(1)
	step := func(at time.Duration, rep gather.Report) v1.MultiNicNodeConfigStatus {
		o.Status = Status(In{Object: o, Report: rep, Now: bridgetest.Clock(at), Pulse: gather.Pulse{Seen: bridgetest.Clock(at)}})
		return o.Status
	}
	since := func(kind string) time.Duration {
		return meta.FindStatusCondition(o.Status.Conditions, kind).LastTransitionTime.Sub(bridgetest.Noon)
	}

	if s := step(0, gather.Report{}); s.LastProcessed != nil {
		t.Errorf("lastProcessed is %s before the node has said anything", s.LastProcessed)
	}
	step(time.Minute, bridgetest.Said(t, bridgetest.Report(1, bridgetest.Configured(1), bridgetest.Configured(2))))
	if got := o.Status.LastProcessed.Sub(bridgetest.Noon); got != time.Minute {
		t.Errorf("lastProcessed moved to %s, want 1m", got)
	}
	if got := since(v1.ConditionReady); got != time.Minute {
		t.Errorf("Ready moved at %s, want 1m", got)
	}
	if got := since(v1.ConditionDegraded); got != 0 {
		t.Errorf("Degraded moved at %s, want never", got)
	}
	renamed := bridgetest.NIC(2, v1.StateConfigured, v1.ReasonRenameAtReboot, "")
	step(2*time.Minute, bridgetest.Said(t, bridgetest.Report(1, bridgetest.Configured(1), renamed)))
	if got := o.Status.LastProcessed.Sub(bridgetest.Noon); got != 2*time.Minute {
		t.Errorf("lastProcessed moved to %s, want 2m", got)
	}
	if got := since(v1.ConditionReady); got != time.Minute {
		t.Errorf("Ready moved at %s while it stayed True", got)
	}
}

func TestSilenceIsNothingThatTheNodeSaid(t *testing.T) {
	o := bridgetest.Object(1)
	rep := bridgetest.Said(t, bridgetest.Report(1, bridgetest.Configured(1), bridgetest.Configured(2)))
	pulse := gather.Pulse{Seen: bridgetest.Noon, Moved: true}
	o.Status = Status(In{Object: o, Report: rep, Pulse: pulse, Now: bridgetest.Noon})
	o.Status = Status(In{Object: o, Report: rep, Pulse: pulse, Now: bridgetest.Clock(v1.SilentAfter)})
	if c := meta.FindStatusCondition(o.Status.Conditions, v1.ConditionReady); c.Reason != v1.ReasonNodeSilent {
		t.Fatalf("Ready has the reason %s", c.Reason)
	}
	if got := o.Status.LastProcessed.Sub(bridgetest.Noon); got != 0 {
		t.Errorf("silence moved lastProcessed by %s", got)
	}
}

func TestWhatOthersKeepInStatusStays(t *testing.T) {
	o := bridgetest.Object(1)
	foreign := metav1.Condition{Type: "Audited", Status: metav1.ConditionTrue, Reason: "ByHand", LastTransitionTime: metav1.NewTime(bridgetest.Noon)}
	o.Status.Conditions = []metav1.Condition{foreign}
	o.Status.LastJobName = "job-1"
	got := Status(In{Object: o, Report: bridgetest.Said(t, bridgetest.Report(1, bridgetest.Configured(1), bridgetest.Configured(2))), Now: bridgetest.Noon})
	if c := meta.FindStatusCondition(got.Conditions, "Audited"); c == nil || *c != foreign {
		t.Errorf("the foreign condition became %v", c)
	}
	if got.LastJobName != "job-1" {
		t.Errorf("lastJobName %q", got.LastJobName)
	}
}

func TestAnObjectOlderThanTheRulesGetsAStatus(t *testing.T) {
	o := bridgetest.Object(1, func(o *v1.MultiNicNodeConfig) {
		o.Spec.Interfaces = nil
		for range 100 {
			o.Spec.Interfaces = append(o.Spec.Interfaces, v1.Interface{MACAddress: "?"})
		}
	})
	got := Status(In{Object: o, Now: bridgetest.Noon})
	if got.State != v1.StatePending || len(got.InterfaceStatuses) != v1.MaxInterfaces {
		t.Errorf("%s with %d NICs", got.State, len(got.InterfaceStatuses))
	}
}

func FuzzStatus(f *testing.F) {
	data, err := bridgetest.Report(1, bridgetest.Configured(1)).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(data), int64(1), int64(0))
	f.Add("{}", int64(2), int64(time.Hour))
	f.Fuzz(func(t *testing.T, rep string, generation, seen int64) {
		in := In{Object: bridgetest.Object(generation), Report: gather.ReadReport(bridgetest.Node, rep), Now: bridgetest.Noon, Pulse: gather.Pulse{Seen: bridgetest.Noon.Add(-time.Duration(seen))}}
		got := Status(in)
		if got.State == v1.StateConfigured {
			r, err := v1.ParseReport([]byte(rep))
			if err != nil || r.UID != bridgetest.UID || r.Generation != generation || r.Node != bridgetest.Node {
				t.Errorf("Configured by %q", rep)
			}
		}
		in.Object.Status = got
		if diff := cmp.Diff(got, Status(in)); diff != "" {
			t.Errorf("it does not come to rest (-first +second):\n%s", diff)
		}
	})
}

func TestTheNodeIsAskedForOneRunAtATime(t *testing.T) {
	old, young, done := bridgetest.Run("b", v1.ActionTrigger, bridgetest.Noon), bridgetest.Run("a", v1.ActionCleanup, bridgetest.Clock(time.Second)), bridgetest.Run("c", v1.ActionTrigger, bridgetest.Clock(-time.Hour))
	done.Status.State = v1.RunFailed
	runs := []v1.MultiNicNodeRun{*young, *done, *old}
	answered := bridgetest.Report(1, bridgetest.Configured(1), bridgetest.Configured(2))
	answered.Run = "b"
	for name, tt := range map[string]struct {
		runs   []v1.MultiNicNodeRun
		report gather.Report
		wait   string
		want   string
	}{
		"the oldest that has not ended":                        {runs, gather.Report{}, "", "b trigger"},
		"the next, once the report answers the oldest":         {runs, bridgetest.Said(t, answered), "", "a cleanup"},
		"none while the next has to wait":                      {runs, bridgetest.Said(t, answered), "a", " "},
		"the oldest, while one behind it has to wait":          {runs, gather.Report{}, "a", "b trigger"},
		"none where all have ended":                            {[]v1.MultiNicNodeRun{*done}, gather.Report{}, "", " "},
		"none where there are none, whatever was asked before": {nil, bridgetest.Said(t, answered), "", " "},
	} {
		t.Run(name, func(t *testing.T) {
			o := bridgetest.Object(1)
			o.Status.RequestedRun = "before"
			s := Status(In{Object: o, Runs: tt.runs, Wait: map[types.UID]bool{types.UID(tt.wait): true}, Report: tt.report, Now: bridgetest.Noon})
			if got := s.RequestedRun + " " + string(s.RequestedAction); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
