package status

import (
	"errors"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "multinicd/api/v1"
)

// Reasons of Events about the CRDs.
const (
	eventCRDsOutdated = "CRDsOutdated"
	eventCRDsUpToDate = "CRDsUpToDate"
)

// crdsRetry is how often the bridge asks whether the CRDs now have all fields.
const crdsRetry = time.Minute

// crds knows whether the CRDs of the cluster are older than the bridge. The API server then refuses
// every status that has a newer field, not just the field. If such fields are not left out, no
// status of the fleet can be written. The zero value takes the CRDs to be as new as the bridge. Its
// methods may be called at any time.
type crds struct {
	mu    sync.Mutex
	older bool
	next  time.Time // when to try all fields again
}

// fit is s as it is to be written now. It has all fields if the CRDs have them, or may have them by
// now. Otherwise it is without the fields that are newer than 0.1.0.
func (c *crds) fit(s v1.MultiNicNodeConfigStatus, now time.Time) v1.MultiNicNodeConfigStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.older:
		return s
	case !now.Before(c.next):
		c.next = now.Add(crdsRetry) // one node tries it for all
		return s
	}
	return s.AtLevel(0)
}

// again is when to look again at a node. after is how long the node itself has nothing to do, 0 for
// ever. It is not later than the next try of all fields.
func (c *crds) again(after time.Duration) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.older && (after == 0 || after > crdsRetry) {
		return crdsRetry
	}
	return after
}

// learn takes in whether the CRDs are older. It returns whether that is news.
func (c *crds) learn(older bool, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	news := c.older != older
	c.older = older
	if news && older {
		c.next = now.Add(crdsRetry)
	}
	return news
}

// undeclared says that err may be the API server's answer to a field that the CRDs do not have.
// That answer has no reason by which one could know it (1.37: a plain error of the field manager,
// "field not declared in schema").
func undeclared(err error) bool {
	var answer apierrors.APIStatus
	return errors.As(err, &answer) && answer.Status().Code == http.StatusInternalServerError && answer.Status().Reason == metav1.StatusReasonUnknown
}

// writeFit writes a status by write. Only if the API server refuses it with all fields, and takes
// it without the fields of newer CRDs, those fields are left out. It returns what was written.
func (l *Loop) writeFit(next v1.MultiNicNodeConfigStatus, write func(v1.MultiNicNodeConfigStatus, bool) error) (v1.MultiNicNodeConfigStatus, error) {
	err := write(next, false)
	older := next.AtLevel(0)
	full := next.ReportLevel > 0 // of every status that has all fields
	switch {
	case err == nil && full && l.crds.learn(false, l.Now()):
		l.tellCRDs(false)
	case full && undeclared(err):
		if write(older, false) != nil {
			return next, err
		}
		if !undeclared(write(next, true)) { // the API server was in trouble for a moment only
			return next, err
		}
		if l.crds.learn(true, l.Now()) {
			l.tellCRDs(true)
		}
		return older, nil
	}
	return next, err
}

// tellCRDs reports once that the CRDs are older than the bridge, and once that they no longer are.
func (l *Loop) tellCRDs(older bool) {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: v1.BridgeAccount, Namespace: v1.SystemNamespace}}
	if !older {
		l.Log.Info("the CRDs have all fields of this version")
		l.Outdated.Set(0)
		l.Events.Eventf(account, nil, corev1.EventTypeNormal, eventCRDsUpToDate, "WriteStatus", "the CRDs have all fields of this version")
		return
	}
	l.Log.Error("the CRDs are older than this version: statuses are written without the fields that they do not have; apply deploy/crds.yaml of this version")
	l.Outdated.Set(1)
	l.Events.Eventf(account, nil, corev1.EventTypeWarning, eventCRDsOutdated, "WriteStatus",
		"the CRDs are older than this version: statuses are written without the fields that they do not have; apply deploy/crds.yaml of this version")
}
