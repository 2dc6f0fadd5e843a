package controller

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "multinicd/api/v1"
	"multinicd/deploy"
)

func account(owner string, notes ...string) *corev1.ServiceAccount {
	a := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "multinic-node-n", Annotations: map[string]string{}}}
	if owner != "" {
		a.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: "n", UID: "old"}}
	}
	for i := 0; i < len(notes); i += 2 {
		a.Annotations[notes[i]] = notes[i+1]
	}
	return a
}

func removal(t *testing.T, node, uid string, phase v1.Phase, degraded ...v1.Remark) string {
	t.Helper()
	r := v1.Report{Node: node, UID: "uid", Generation: 1, Executor: v1.ExecutorDaemon, Phase: phase}
	for _, remark := range degraded {
		r.Degraded = &remark
	}
	data, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Replace(string(data), `"uid":"uid"`, `"uid":"`+uid+`"`, 1)
}

func TestJudge(t *testing.T) {
	at := func(before time.Duration) string { return noon.Add(-before).Format(time.RFC3339) }
	for name, row := range map[string]struct {
		claim Claim
		want  Verdict
	}{
		"a Node is claim enough": {Claim{Node: "n"}, Verdict{}},
		"an object is, too":      {Claim{Object: "o", Account: account("")}, Verdict{}},
		"so is a join token":     {Claim{Join: true}, Verdict{}},
		"the Secret stays for 2 h after there is a Node": {
			Claim{Node: "n", NodeSince: noon.Add(-time.Hour), Account: account("", secretAnnotation, "true")},
			Verdict{Again: time.Hour},
		},
		"then it goes": {
			Claim{Node: "n", NodeSince: noon.Add(-2 * time.Hour), Account: account("", secretAnnotation, "true")},
			Verdict{DropSecret: true},
		},
		"without a Node it stays": {Claim{Object: "o", Account: account("", secretAnnotation, "true")}, Verdict{}},
		"what belonged to a Node goes with it, whatever the report says": {
			Claim{Account: account("old", objectAnnotation, "o")}, Verdict{Remove: true, Why: "its Node is gone"},
		},
		"but stays where there is an object": {Claim{Object: "o", Account: account("old")}, Verdict{}},
		"what is left over of nothing goes":  {Claim{}, Verdict{Remove: true, Why: "nothing speaks for the node"}},
		"from when the object is gone the day is counted": {
			Claim{Account: account("", objectAnnotation, "o")}, Verdict{Unclaimed: true, Since: noon, Again: 24 * time.Hour},
		},
		"an offline node is waited for": {
			Claim{Account: account("", objectAnnotation, "o", sinceAnnotation, at(23*time.Hour))}, Verdict{Unclaimed: true, Again: time.Hour},
		},
		"a moving Lease does not help who has had an object": {
			Claim{Account: account("", objectAnnotation, "o", sinceAnnotation, at(24*time.Hour)), Pulse: Pulse{Seen: noon, Moved: true}},
			Verdict{Remove: true, Why: "its object was deleted 24 h ago, and the node has not reported the removal"},
		},
		"the report of the removal ends it": {
			Claim{Account: account("", objectAnnotation, "o"), Report: removal(t, "n", "o", v1.PhaseRemoved)},
			Verdict{Remove: true, Why: "the node has reported that its NICs are given back"},
		},
		"and so does that of a node which keeps its NICs, in other words": {
			Claim{Account: account("", objectAnnotation, "o"), Report: removal(t, "n", "o", v1.PhaseRemoved, v1.Remark{Reason: v1.ReasonRetained})},
			Verdict{Remove: true, Why: "the node has reported that its object is gone, and that it keeps its NICs as they are"},
		},
		"the report of another object's removal does not": {
			Claim{Account: account("", objectAnnotation, "o"), Report: removal(t, "n", "x", v1.PhaseRemoved)},
			Verdict{Unclaimed: true, Since: noon, Again: 24 * time.Hour},
		},
		"nor does another report": {
			Claim{Account: account("", objectAnnotation, "o"), Report: removal(t, "n", "o", v1.PhaseDone)},
			Verdict{Unclaimed: true, Since: noon, Again: 24 * time.Hour},
		},
		"nor one that speaks for another node": {
			Claim{Account: account("", objectAnnotation, "o"), Report: removal(t, "m", "o", v1.PhaseRemoved)},
			Verdict{Unclaimed: true, Since: noon, Again: 24 * time.Hour},
		},
		"who never had an object stays while the Lease moves": {
			Claim{Account: account("", sinceAnnotation, at(30*time.Hour)), Pulse: Pulse{Seen: noon, Moved: true}},
			Verdict{Unclaimed: true, Since: noon, Again: time.Hour},
		},
		"a Lease that was only seen does not move": {
			Claim{Account: account("", sinceAnnotation, at(30*time.Hour)), Pulse: Pulse{Seen: noon}},
			Verdict{Remove: true, Why: "nothing has spoken for the node for 24 h, nor has it renewed its Lease"},
		},
		"a note that cannot be read is made anew": {
			Claim{Account: account("", sinceAnnotation, "yesterday")}, Verdict{Unclaimed: true, Since: noon, Again: 24 * time.Hour},
		},
	} {
		t.Run(name, func(t *testing.T) {
			row.claim.Now, row.claim.Name = noon, "n"
			if diff := cmp.Diff(row.want, Judge(row.claim)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			quietHours(t, noon, fewLooks, func(now time.Time) reconcile.Result {
				c := row.claim
				c.Now = now
				return again(Judge(c).Again)
			})
		})
	}
}

func TestAnswer(t *testing.T) {
	sealKey, err := v1.NewSealKey()
	if err != nil {
		t.Fatal(err)
	}
	key := sealKey.Public()
	ask := func(change func(*Ask)) Ask {
		a := Ask{
			Request: &v1.NodeTokenRequest{
				ObjectMeta: metav1.ObjectMeta{Name: "n", UID: "u", CreationTimestamp: metav1.NewTime(noon)},
				Spec:       v1.NodeTokenRequestSpec{Door: v1.DoorJoinToken, PublicKey: key},
			},
			Expected: true,
			Join:     &corev1.ServiceAccount{},
			Lease:    &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{}}},
			Now:      noon.Add(time.Minute),
		}
		if change != nil {
			change(&a)
		}
		return a
	}
	joined := func(a *Ask) { a.Lease.Spec.HolderIdentity = new("n_before") }
	sealed := func(a *Ask) { a.Request.Status.SealedAt = new(metav1.NewTime(noon)) }
	for name, row := range map[string]struct {
		change func(*Ask)
		want   string
	}{
		"a first request gets its token":         {nil, "seal"},
		"a node that nobody expects does not":    {func(a *Ask) { a.Expected = false }, v1.ReasonNodeNotExpected},
		"nor a key that is too short":            {func(a *Ask) { a.Request.Spec.PublicKey = key[:31] }, v1.ReasonKeyInvalid},
		"nor a key of zeros":                     {func(a *Ask) { a.Request.Spec.PublicKey = make([]byte, 32) }, v1.ReasonKeyInvalid},
		"nor who has joined":                     {joined, v1.ReasonNodeAlreadyJoined},
		"nor whose join token is gone":           {func(a *Ask) { a.Join = nil }, v1.ReasonJoinTokenEnded},
		"but a kubelet always":                   {func(a *Ask) { joined(a); a.Join, a.Request.Spec.Door = nil, v1.DoorKubelet }, "seal"},
		"and who shall replace":                  {func(a *Ask) { joined(a); a.Join.Annotations = map[string]string{v1.ReplaceAnnotation: "true"} }, "seal replace"},
		"to replace nobody is a first join":      {func(a *Ask) { a.Join.Annotations = map[string]string{v1.ReplaceAnnotation: "true"} }, "seal"},
		"a key that was sealed to is replayed":   {func(a *Ask) { a.Lease.Annotations[keysAnnotation] = "x:y " + keyHash(key) + ":other" }, v1.ReasonKeyReplayed},
		"not by the same request, after a crash": {func(a *Ask) { a.Lease.Annotations[keysAnnotation] = keyHash(key) + ":u" }, "seal"},
		"a refused request waits":                {func(a *Ask) { a.Request.Status.Reason = v1.ReasonKeyInvalid }, "9m0s"},
		"one that waits for admission is tried":  {func(a *Ask) { a.Request.Status.Reason = v1.ReasonAdmissionMissing }, "seal"},
		"after 10 min it goes":                   {func(a *Ask) { a.Now = noon.Add(10 * time.Minute) }, "delete"},
		"a sealed one waits for the Lease":       {sealed, "9m0s"},
		"of the machine before, too":             {func(a *Ask) { sealed(a); joined(a) }, "9m0s"},
		"and goes with the first renewal":        {func(a *Ask) { sealed(a); a.Lease.Spec.HolderIdentity = new(v1.LeaseHolder("n", "u")) }, "joined"},
		"or 10 min later":                        {func(a *Ask) { sealed(a); a.Now = noon.Add(10 * time.Minute) }, "delete"},
	} {
		t.Run(name, func(t *testing.T) {
			r := Answer(ask(row.change))
			got := r.Again.String()
			switch {
			case r.Joined:
				got = "joined"
			case r.Delete:
				got = "delete"
			case r.Refuse != nil:
				got = r.Refuse.Reason
			case r.Replace:
				got = "seal replace"
			case r.Seal:
				got = "seal"
			}
			if got != row.want {
				t.Errorf("got %s (%+v), want %s", got, r, row.want)
			}
			quietHours(t, noon, fewLooks, func(now time.Time) reconcile.Result {
				a := ask(row.change)
				a.Now = now
				return again(Answer(a).Again)
			})
		})
	}
}

func TestKeysAreRememberedUpToABound(t *testing.T) {
	notes := ""
	for i := range 3 * maxKeys {
		key := make([]byte, v1.PublicKeySize)
		key[0] = byte(i)
		r := &v1.NodeTokenRequest{ObjectMeta: metav1.ObjectMeta{UID: "u"}, Spec: v1.NodeTokenRequestSpec{PublicKey: key}}
		notes = remember(notes, r)
		if again := remember(notes, r); again != notes {
			t.Errorf("the same twice: %q", again)
		}
	}
	if n := len(strings.Fields(notes)); n != maxKeys {
		t.Errorf("%d are remembered, want %d", n, maxKeys)
	}
}

// Every policy has its binding and its probe, and the bridge may read each.
func TestPoliciesAreBoundAndProbed(t *testing.T) {
	want, err := wantedPolicies(deploy.Admission)
	if err != nil {
		t.Fatal(err)
	}
	jobs, err := wantedPolicies(deploy.Jobs)
	if err != nil || len(jobs.policies) != 3 {
		t.Fatal(len(jobs.policies), err)
	}
	label, err := wantedPolicies(deploy.NodeLabel)
	if err != nil || len(label.policies) != 1 {
		t.Fatal(len(label.policies), err)
	}
	want.policies = append(append(want.policies, jobs.policies...), label.policies...)
	want.bindings = append(append(want.bindings, jobs.bindings...), label.bindings...)
	var bound []string
	for _, b := range want.bindings {
		bound = append(bound, b.Name)
		if b.Spec.PolicyName != b.Name || len(b.Spec.ValidationActions) != 1 || b.Spec.ValidationActions[0] != "Deny" {
			t.Errorf("binding %s: %+v", b.Name, b.Spec)
		}
	}
	var policies []string
	for _, p := range want.policies {
		policies = append(policies, p.Name)
		if *p.Spec.FailurePolicy != "Fail" || p.Spec.Validations[0].Message != p.Name+" is in force" {
			t.Errorf("policy %s does not fail closed, or does not refuse a probe first", p.Name)
		}
	}
	if diff := cmp.Diff(policies, bound); diff != "" || len(policies) < 5 {
		t.Errorf("(-policies +bindings)\n%s", diff)
	}
}
