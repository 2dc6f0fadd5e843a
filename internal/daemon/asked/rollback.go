package asked

import (
	"errors"
	"fmt"
	"slices"

	v1 "multinicd/api/v1"
	"multinicd/nic"
)

// ErrNothingBefore: there is no other configuration to go back to.
var ErrNothingBefore = errors.New("no earlier configuration is known: nothing to roll back to")

// MayRollBack says why a rollback, or with back false the end of one, has no sense now, as far as
// the wish alone tells; nil: it has.
func (w Wish) MayRollBack(back bool) error {
	switch {
	case !back && !w.Held:
		return errors.New("nothing is rolled back: there is nothing to undo")
	case !back:
		return nil
	case w.Held:
		return fmt.Errorf("rolled back already; %s", heldEnds)
	case w.Gone:
		return errors.New("the object was deleted: nothing to roll back to; make it anew to configure the NICs")
	case w.Cleaned || w.Left:
		return errors.New("every NIC was given back by a cleanup: nothing to roll back to")
	case w.Object == nil || w.Before == nil:
		return ErrNothingBefore
	case sameNICs(w.Object, w.Before):
		return errors.New("the object wants the same of the NICs as the one before: nothing to roll back to")
	}
	return nil
}

// sameNICs says whether two objects want the same on the host: their hashes and other marks of the
// publisher do not count.
func sameNICs(a, b *v1.MultiNicNodeConfig) bool {
	x, y := Parse(a, a.Spec.NodeName), Parse(b, b.Spec.NodeName)
	return a.Spec.NodeName == b.Spec.NodeName && a.Spec.InstanceID == b.Spec.InstanceID &&
		slices.EqualFunc(x.NICs, y.NICs, nic.Config.Equal) && slices.Equal(x.Invalid, y.Invalid) && (x.Refused == nil) == (y.Refused == nil)
}

// heldEnds says what ends a rollback.
const heldEnds = "`multinicd rollback --undo` on the node, or the next change of the object, ends that"

// HeldMessage says of an object that is held back what is in force, and what ends that.
func (w Wish) HeldMessage() string {
	object := "the object"
	if g := w.Generation(); g != 0 { // from a file: nobody counts
		object = fmt.Sprintf("generation %d", g)
	}
	return fmt.Sprintf("%s is held back: it was rolled back by hand to %s; %s", object, w.BeforeText(), heldEnds)
}

// BeforeText names what a rollback goes back to.
func (w Wish) BeforeText() string {
	switch {
	case w.Before.Generation == 0: // from a file: nobody counts
		return "the configuration before it"
	case w.Object != nil && w.Object.UID != w.Before.UID:
		return fmt.Sprintf("generation %d of the object before it", w.Before.Generation)
	}
	return fmt.Sprintf("generation %d", w.Before.Generation)
}
