package publish

import (
	"fmt"
	"slices"
	"strings"

	v1 "multinicd/api/v1"
)

// diff says what is another in the second object, a line for each field and each NIC: "+" is new,
// "-" is gone, "~" has changed. NICs are in the order of their ids. Both objects keep the rules,
// except that the first may be older than they are.
func diff(before, after *v1.MultiNicNodeConfig) []string {
	var out []string
	field := func(name, a, b string) {
		if a != b {
			out = append(out, fmt.Sprintf("~ %s: %q -> %q", name, a, b))
		}
	}
	field("owner", before.Labels[v1.PublisherLabel], after.Labels[v1.PublisherLabel])
	field("primary port", before.Annotations[v1.PrimaryPortAnnotation], after.Annotations[v1.PrimaryPortAnnotation])
	field("providerId", before.Spec.ProviderID, after.Spec.ProviderID)
	field("instanceId", before.Spec.InstanceID, after.Spec.InstanceID)
	field("specHash", before.Spec.SpecHash, after.Spec.SpecHash)
	was, is := texts(before), texts(after)
	for _, n := range is {
		if i := slices.IndexFunc(was, func(o text) bool { return o.id == n.id }); i < 0 {
			out = append(out, "+ "+n.text)
		} else if was[i].text != n.text {
			out = append(out, "~ "+was[i].text+" -> "+n.text)
		}
	}
	for _, o := range was {
		if !slices.ContainsFunc(is, func(n text) bool { return n.id == o.id }) {
			out = append(out, "- "+o.text)
		}
	}
	return out
}

// text is a NIC in one line.
type text struct {
	id   int32
	text string
}

func texts(o *v1.MultiNicNodeConfig) []text {
	normals, _ := o.Validate()
	var out []text
	for i, n := range normals {
		out = append(out, text{n.ID, line(o.Spec.Interfaces[i].PortID, n)})
	}
	slices.SortStableFunc(out, func(a, b text) int { return int(a.id - b.id) })
	return out
}

func line(port string, n v1.Normal) string {
	words := []string{n.Name, n.MACAddress}
	for _, a := range n.Addresses {
		words = append(words, a.String())
	}
	if n.MTU != 0 {
		words = append(words, fmt.Sprintf("mtu %d", n.MTU))
	}
	if n.Gateway.IsValid() {
		words = append(words, "gateway "+n.Gateway.String())
	}
	for _, r := range n.Routes {
		words = append(words, "route "+r.To.String())
		if r.Via.IsValid() {
			words = append(words, "via "+r.Via.String())
		}
		if r.Metric != 0 {
			words = append(words, fmt.Sprintf("metric %d", r.Metric))
		}
		if r.Table != 0 {
			words = append(words, fmt.Sprintf("table %d", r.Table))
		}
	}
	if n.Adopt {
		words = append(words, "adopt")
	}
	if port != "" {
		words = append(words, "port "+port)
	}
	return strings.Join(words, " ")
}
