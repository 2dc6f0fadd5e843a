package main

import (
	"testing"

	"multinicd/cmd/line/linetest"
)

func TestTheCommandLineIsReadAndExplainedAsTheLibraryDoes(t *testing.T) {
	linetest.Same(t, newApp, "version", "version extra", "run extra", "run --silent-after 1s", "run --silent-after=soon", "run --rollout-max 0 --log-level none", "node", "fleet -o xml", "trigger --nope", "__complete fleet --not")
}
