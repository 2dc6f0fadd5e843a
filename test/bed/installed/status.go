package installed

import (
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	v1 "multinicd/api/v1"
	"multinicd/internal/daemon/asked"
	"multinicd/internal/daemon/status"
	"multinicd/nic"
)

// Backwards says what the status of an object took back from before to now, two states of it in order: an older generation, an earlier time, less than
// Configured of a generation that had been, a release. "" where it took back nothing.
func Backwards(before, now v1.MultiNicNodeConfig) string {
	was, is := before.Status, now.Status
	if before.UID != now.UID {
		return ""
	}
	switch {
	case is.ObservedGeneration < was.ObservedGeneration:
		return fmt.Sprintf("generation %d after %d", is.ObservedGeneration, was.ObservedGeneration)
	case is.ObservedGeneration > now.Generation:
		return fmt.Sprintf("generation %d of %d", is.ObservedGeneration, now.Generation)
	case is.ObservedGeneration == was.ObservedGeneration && was.State == v1.StateConfigured && is.State != v1.StateConfigured:
		return fmt.Sprintf("%s after Configured", is.State)
	case was.LastProcessed != nil && (is.LastProcessed == nil || is.LastProcessed.Before(was.LastProcessed)):
		return fmt.Sprintf("last processed %v after %v", is.LastProcessed, was.LastProcessed)
	case was.ReleasedGeneration > 0 && is.ReleasedGeneration < was.ReleasedGeneration:
		return fmt.Sprintf("released up to %d after %d", is.ReleasedGeneration, was.ReleasedGeneration)
	}
	return ""
}

// NICs is the status in short: "multinic1 Configured Configured, multinic2 Failed ProtectedLink"; the error if there is none.
func (n *Node) NICs() string {
	s, err := n.Status()
	if err != nil {
		return err.Error()
	}
	return n.Said(s)
}

// Said is the short form of a status that is about the object in ObjectFile, if there is one. A daemon that was started on another object says first how
// that one is, and one that is in the midst of a change what was before: then the kernel may show what is wanted already, and whoever stops
// the daemon has the change undone.
func (n *Node) Said(s status.Node) string {
	if n.object != "" && !isAbout(s, n.object) {
		return "of another object: " + NICs(s)
	}
	return NICs(s)
}

// NICs is the short form of any status.
func NICs(s status.Node) string {
	var out []string
	for _, i := range s.NICs {
		out = append(out, fmt.Sprintf("%s %s %s", i.Name, i.Status, i.Reason))
	}
	return strings.Join(out, ", ")
}

// isAbout tells whether a status speaks of the NICs as an object wants them. Of an object that is not in force, since it cannot be used, was rolled back or
// given back, it need not.
func isAbout(s status.Node, object string) bool {
	data, err := yaml.YAMLToJSON([]byte(object))
	if err != nil {
		return true
	}
	o, err := v1.ParseNodeConfig(data)
	if err != nil {
		return true
	}
	wish := asked.Parse(o, o.Spec.NodeName)
	if wish.Refused != nil || s.Held || s.State == string(v1.PhaseRemoved) {
		return true
	}
	var want, said []string
	for _, c := range wish.NICs {
		var routes []string
		for _, r := range c.Routes {
			routes = append(routes, r.String())
		}
		if c.Gateway.IsValid() {
			routes = append(routes, fmt.Sprintf("default via %s table %d", c.Gateway, nic.Table(c.ID)))
		}
		want = append(want, fmt.Sprint(c.MAC, c.Name, c.MTU, c.Addresses, routes))
	}
	for _, i := range s.NICs {
		if w := i.Want; w.Link != "" { // else the object has it no more, or nobody can want it so
			said = append(said, fmt.Sprint(i.MAC, w.Link, w.MTU, w.Addresses, w.Routes))
		}
	}
	slices.Sort(want)
	slices.Sort(said)
	return slices.Equal(want, said)
}
