//go:build !failpoint

package main

// failpoint does nothing in the binary that ships. Only tests need it.
func failpoint() func(string) { return nil }
