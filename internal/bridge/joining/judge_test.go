package joining

import (
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "multinicd/api/v1"
	"multinicd/internal/bridge/bridgetest"
	"multinicd/internal/bridge/gather"
)

func TestAnswer(t *testing.T) {
	sealKey, err := v1.NewSealKey()
	if err != nil {
		t.Fatal(err)
	}
	key := sealKey.Public()
	ask := func(change func(*Ask)) Ask {
		a := Ask{
			Request: &v1.NodeTokenRequest{
				ObjectMeta: metav1.ObjectMeta{Name: "n", UID: "u", CreationTimestamp: metav1.NewTime(bridgetest.Noon)},
				Spec:       v1.NodeTokenRequestSpec{Door: v1.DoorJoinToken, PublicKey: key},
			},
			Expected: true,
			Join:     &corev1.ServiceAccount{},
			Lease:    &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{}}},
			Now:      bridgetest.Noon.Add(time.Minute),
		}
		if change != nil {
			change(&a)
		}
		return a
	}
	joined := func(a *Ask) { a.Lease.Spec.HolderIdentity = new("n_before") }
	sealed := func(a *Ask) { a.Request.Status.SealedAt = new(metav1.NewTime(bridgetest.Noon)) }
	for name, row := range map[string]struct {
		change func(*Ask)
		want   string
	}{
		"a first request gets its token":         {nil, "seal"},
		"a node that nobody expects does not":    {func(a *Ask) { a.Expected = false }, v1.ReasonNodeNotExpected},
		"its Node may come a moment later":       {func(a *Ask) { a.Expected, a.Now = false, bridgetest.Noon.Add(10*time.Second) }, "20s"},
		"nor does a blocked one":                 {func(a *Ask) { a.Blocked = true }, v1.ReasonNodeBlocked},
		"by no door":                             {func(a *Ask) { a.Blocked, a.Request.Spec.Door = true, v1.DoorKubelet }, v1.ReasonNodeBlocked},
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
		"after 10 min it goes":                   {func(a *Ask) { a.Now = bridgetest.Noon.Add(10 * time.Minute) }, "delete"},
		"a sealed one waits for the Lease":       {sealed, "9m0s"},
		"of the machine before, too":             {func(a *Ask) { sealed(a); joined(a) }, "9m0s"},
		"and goes with the first renewal":        {func(a *Ask) { sealed(a); a.Lease.Spec.HolderIdentity = new(v1.LeaseHolder("n", "u")) }, "joined"},
		"or 10 min later":                        {func(a *Ask) { sealed(a); a.Now = bridgetest.Noon.Add(10 * time.Minute) }, "delete"},
	} {
		t.Run(name, func(t *testing.T) {
			r := Judge(ask(row.change))
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
			bridgetest.QuietHours(t, bridgetest.Noon, bridgetest.FewLooks, func(now time.Time) reconcile.Result {
				a := ask(row.change)
				a.Now = now
				return gather.Again(Judge(a).Again)
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
