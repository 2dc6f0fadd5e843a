package gather

import (
	"fmt"

	v1 "multinicd/api/v1"
)

// ReadReport reads what stands in a node's report, of whatever object; nil and nil
// where nothing does. The error is fit for a condition.
func ReadReport(node, text string) (*v1.Report, error) {
	if text == "" {
		return nil, nil
	}
	rep, err := v1.ParseReport([]byte(text))
	if err != nil {
		return nil, err
	}
	if rep.Node != node {
		return nil, fmt.Errorf("%w: it speaks for another node", v1.ErrReport)
	}
	return &rep, nil
}
