package admission

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// fault is what is wrong with a policy or its binding. It wraps errAdmission.
type fault struct {
	about  corev1.ObjectReference
	err    error
	action string // of the Event; empty: the object was looked at
	open   bool   // what the policy is for is refused to nobody
}

func (f *fault) Error() string   { return errAdmission.Error() + ": " + f.err.Error() }
func (f *fault) Unwrap() []error { return []error{errAdmission, f.err} }

// wrong makes a fault of a policy or binding as it was read.
func wrong(kind string, o client.Object, name, format string, args ...any) *fault {
	return &fault{about: corev1.ObjectReference{
		APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: kind, Name: name, UID: o.GetUID(), ResourceVersion: o.GetResourceVersion(),
	}, err: fmt.Errorf(format, args...)}
}

// notOurs is a fault of a policy or binding that is not that of this version.
func (g *PolicyGuard) notOurs(ctx context.Context, f *fault, policy string) *fault {
	f.open = g.probe(ctx, policy) == nil
	return f
}

// Grace is how long what the policies alone hold may stay after InForce has given err. It may not
// stay where a policy or binding is gone, or lets its probe through. It may for a minute where one
// is not that of this version but refuses its probe: so it is while the chart is upgraded, until
// the new bridge leads. The answer is negative where the API server gave none: that says nothing
// about the policies.
func Grace(err error) time.Duration {
	var f *fault
	var answer apierrors.APIStatus
	switch {
	case !errors.As(err, &f):
		return -1 // nobody has looked
	case f.open:
		return 0
	case errors.As(f.err, &answer):
		if code := answer.Status().Code; code == http.StatusTooManyRequests || code >= http.StatusInternalServerError {
			return -1
		}
	case errors.Unwrap(f.err) != nil:
		return -1
	}
	return time.Minute
}
