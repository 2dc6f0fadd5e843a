package prerequisite

import "os"

// Long are the rows of a test's table that take long, which only MULTINIC_LONG adds, as make test-all does. Without it they are not there, rather than
// skipped: in CI a test that is skipped is a failure (test/suite/house).
func Long[T any](rows ...T) []T {
	if os.Getenv("MULTINIC_LONG") == "" {
		return nil
	}
	return rows
}
