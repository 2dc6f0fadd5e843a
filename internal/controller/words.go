package controller

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// How long, in bytes, what is said to users may be.
const (
	// maxConditionMessage is for a condition, which `kubectl get -o wide` prints in a
	// line.
	maxConditionMessage = 512
	// maxEvent is for an Event; the API server takes 1,024.
	maxEvent = 1000
)

// metaTime is a time as the API server keeps it.
func metaTime(t time.Time) metav1.Time { return metav1.NewTime(t.Truncate(time.Second)) }

// tokenLife is that of every token the bridge asks for; the node renews it.
const tokenLife = time.Hour
