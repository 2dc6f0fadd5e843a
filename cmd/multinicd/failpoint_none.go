//go:build !failpoint

package main

// failpoint is of use in tests only; this is what ships.
func failpoint() func(string) { return nil }
