package main

import (
	"context"
	"slices"

	"multinicd/cmd/complete"
)

// values are what may stand behind options. What would have to be asked for is not among it.
func values(_ context.Context, path []string, option string) []string {
	switch option {
	case "output":
		if slices.Contains(path, "status") {
			return []string{"table", "json", "metrics"}
		}
		return []string{"table", "json"}
	case "config", "root", "file", "token-file", "kubeconfig":
		return []string{complete.Files}
	}
	return nil
}
