package main

import (
	"testing"

	"multinicd/cmd/line/linetest"
)

func TestTheCommandLineIsReadAndExplainedAsTheLibraryDoes(t *testing.T) {
	linetest.Same(t, newApp, "version", "version extra", "plan -o", "plan -o xml --verbose", "status -o json --output table", "apply --wait soon", "apply -v extra", "__complete status --o", "join --server=x")
}
