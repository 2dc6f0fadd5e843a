package gather

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// How long, in bytes, what is said to users may be.
const (
	// MaxConditionMessage is for a condition, which `kubectl get -o wide` prints in a
	// line.
	MaxConditionMessage = 512
	// MaxEvent is for an Event; the API server takes 1,024.
	MaxEvent = 1000
)

// MetaTime is a time as the API server keeps it.
func MetaTime(t time.Time) metav1.Time { return metav1.NewTime(t.Truncate(time.Second)) }
