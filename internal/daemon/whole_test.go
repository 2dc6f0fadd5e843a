package daemon

import (
	"multinicd/internal/daemon/status"
	"multinicd/internal/terminal/layout"
)

// whole is all that a person can be shown of a status, as in a pipe.
func whole(s status.Node) string { return layout.Unmarked(s.Table(layout.Page{Verbose: true})) }
