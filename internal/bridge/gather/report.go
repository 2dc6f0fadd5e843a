package gather

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
)

// Report is what is in a node's report. The zero value means that there is none. At most one of the
// two fields is set.
type Report struct {
	// Said is what the node has said, about whatever object. It is not changed.
	Said *v1.Report
	// Err is why the report cannot be used. Its text is fit for a condition.
	Err error
}

// ReadReport reads the text of a report for a node. No other function of the bridge does. Text that
// speaks for another node cannot be used.
func ReadReport(node, text string) Report {
	if text == "" {
		return Report{}
	}
	said, err := v1.ParseReport([]byte(text))
	switch {
	case err != nil:
		return Report{Err: err}
	case said.Node != node:
		return Report{Err: fmt.Errorf("%w: it speaks for another node", v1.ErrReport)}
	}
	return Report{Said: &said}
}

// ReportOf reads the report of a node. The error comes from the API server or the cache. A report
// that cannot be used is no error; Report.Err says why.
func ReportOf(ctx context.Context, c client.Reader, node string) (Report, error) {
	cm, err := one(ctx, c, &corev1.ConfigMap{}, client.ObjectKey{Namespace: v1.NodesNamespace, Name: v1.ReportName(node)})
	if err != nil || cm == nil {
		return Report{}, err
	}
	return ReadReport(node, cm.Data[v1.ReportKey]), nil
}
