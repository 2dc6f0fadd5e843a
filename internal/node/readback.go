package node

import (
	"errors"
	"maps"
	"slices"

	"multinicd/internal/apply"
	"multinicd/plan"
)

// ReadBack gives what the files of all backends say, sorted by backend. Of the backends that
// could be read the result stands beside an error, too.
func (d *Dispatch) ReadBack() ([]plan.Owned, error) {
	var out []plan.Owned
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(d.backends)) {
		if k, ok := d.backends[name].(apply.FileReader); ok {
			found, err := k.ReadBack()
			errs = append(errs, err)
			for _, o := range found {
				o.Backend = name
				out = append(out, o)
			}
		}
	}
	return out, errors.Join(errs...)
}

// Remember implements apply.Rememberer.
func (d *Dispatch) Remember(yes bool) {
	for _, b := range d.backends {
		if b, ok := b.(apply.Rememberer); ok {
			b.Remember(yes)
		}
	}
}
