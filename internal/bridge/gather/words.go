package gather

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// How long texts for users may be, in bytes.
const (
	// MaxConditionMessage bounds the message of a condition. `kubectl get -o wide` prints it in one
	// line.
	MaxConditionMessage = 512
	// MaxEvent bounds the text of an Event. The API server takes 1,024.
	MaxEvent = 1000
)

// MetaTime is a time as the API server keeps it.
func MetaTime(t time.Time) metav1.Time { return metav1.NewTime(t.Truncate(time.Second)) }
