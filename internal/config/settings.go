package config

import (
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// setting is one key of the file.
type setting struct {
	key string
	// doc is what reference.toml must say about the value: its choices or its range.
	doc string
	// form is what an editor knows of the value, in the words of JSON Schema.
	form map[string]any
	// set checks a TOML value and stores it. Its error is the rest of a sentence that begins with
	// the key.
	set func(value any) error
}

// settings lists every key, in the order of reference.toml.
func (c *Config) settings() []setting {
	return []setting{
		text("node", &c.Node, optional(dnsName(200))),
		text("instance_id", &c.InstanceID, optional(printable)),
		choice("on_delete", &c.OnDelete, "retain", "restore"),

		choice("source.mode", &c.Source.Mode, "watch", "poll", "file"),
		duration("source.interval", &c.Source.Interval, 5*time.Second, time.Hour),
		duration("source.resync", &c.Source.Resync, 30*time.Second, 24*time.Hour),
		text("source.file", &c.Source.File, optional(absolute)),
		flag("source.cleanup", &c.Source.Cleanup),

		text("api.server", &c.API.Server, optional(httpsURL)),
		text("api.ca_file", &c.API.CAFile, optional(absolute)),
		text("api.token_file", &c.API.TokenFile, optional(absolute)),
		text("api.kubeconfig", &c.API.Kubeconfig, optional(absolute)),
		text("api.namespace", &c.API.Namespace, dnsName(63)),
		text("api.report_namespace", &c.API.ReportNamespace, dnsName(63)),

		text("join.kubelet_kubeconfig", &c.Join.KubeletKubeconfig, optional(absolute)),

		choice("backend.name", &c.Backend.Name, "auto", "netplan", "networkmanager", "ifcfg"),
		choice("backend.activation", &c.Backend.Activation, "live", "networkd", "netplan"),
		choice("backend.dad", &c.Backend.DAD, "off", "fast", "rfc5227"),

		list("links.virtual_kinds", &c.Links.VirtualKinds, linkKind),
		list("links.deny_names", &c.Links.DenyNames, namePattern),
		choice("links.take_over", &c.Links.TakeOver, "generated", "none"),
		flag("links.adopt", &c.Links.Adopt),

		choice("routing.same_subnet", &c.Routing.SameSubnet, "auto", "off"),
		numbers("routing.allow_tables", &c.Routing.AllowTables, 1, math.MaxInt32),
		list("routing.protect", &c.Routing.Protect, network),

		flag("probe.api", &c.Probe.API),
		duration("probe.timeout", &c.Probe.Timeout, time.Second, 25*time.Second),
		list("probe.tcp", &c.Probe.TCP, hostPort),
		list("probe.neighbours", &c.Probe.Neighbours, netip.ParseAddr),

		text("state.dir", &c.State.Dir, absolute),
		text("status.socket", &c.Status.Socket, socketPath),
		level("log.level", &c.Log.Level),
	}
}

func text(key string, into *string, check func(string) error) setting {
	return setting{key: key, form: map[string]any{"type": "string"}, set: func(value any) error {
		s, ok := value.(string)
		if !ok {
			return wrongType("a string", value)
		}
		if err := check(s); err != nil {
			return fmt.Errorf("%q %w", s, err)
		}
		*into = s
		return nil
	}}
}

func flag(key string, into *bool) setting {
	return setting{key: key, doc: "true or false", form: map[string]any{"type": "boolean"}, set: func(value any) error {
		b, ok := value.(bool)
		if !ok {
			return wrongType("true or false", value)
		}
		*into = b
		return nil
	}}
}

func choice(key string, into *string, choices ...string) setting {
	quoted := make([]string, len(choices))
	for i, c := range choices {
		quoted[i] = strconv.Quote(c)
	}
	all := strings.Join(quoted[:len(quoted)-1], ", ") + " or " + quoted[len(quoted)-1]
	return setting{key: key, doc: all, form: map[string]any{"type": "string", "enum": choices}, set: func(value any) error {
		s, ok := value.(string)
		if !ok {
			return wrongType("a string", value)
		}
		if !slices.Contains(choices, s) {
			return fmt.Errorf("%q is not one of %s", s, all)
		}
		*into = s
		return nil
	}}
}

func duration(key string, into *time.Duration, least, most time.Duration) setting {
	doc := fmt.Sprintf("%q to %q", short(least), short(most))
	return setting{key: key, doc: doc, form: map[string]any{"type": "string", "pattern": goDuration}, set: func(value any) error {
		s, ok := value.(string)
		if !ok {
			return wrongType(`a duration in quotes, such as "30s"`, value)
		}
		d, err := time.ParseDuration(s)
		if err != nil {
			return fmt.Errorf(`%q is not a duration, such as "30s" or "5m"`, s)
		}
		if d < least || d > most {
			return fmt.Errorf("%q is out of range, which is %s", s, doc)
		}
		*into = d
		return nil
	}}
}

// short writes a duration as a person does: 1h, not 1h0m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func list[T any](key string, into *[]T, parse func(string) (T, error)) setting {
	return setting{key: key, form: map[string]any{"type": "array", "items": map[string]any{"type": "string"}}, set: func(value any) error {
		items, ok := value.([]any)
		if !ok {
			return wrongType("a list of strings", value)
		}
		var parsed []T
		for i, item := range items {
			s, ok := item.(string)
			if !ok {
				return fmt.Errorf("has a wrong item %d: %w", i+1, wrongType("a string", item))
			}
			p, err := parse(s)
			if err != nil {
				return fmt.Errorf("has a wrong item %d: %w", i+1, err)
			}
			parsed = append(parsed, p)
		}
		*into = parsed
		return nil
	}}
}

func numbers(key string, into *[]int, least, most int) setting {
	item := map[string]any{"type": "integer", "minimum": least, "maximum": most}
	return setting{key: key, doc: fmt.Sprintf("%d to %d", least, most), form: map[string]any{"type": "array", "items": item}, set: func(value any) error {
		items, ok := value.([]any)
		if !ok {
			return wrongType("a list of numbers", value)
		}
		var parsed []int
		for i, item := range items {
			n, ok := item.(int64)
			if !ok {
				return fmt.Errorf("has a wrong item %d: %w", i+1, wrongType("a number", item))
			}
			if n < int64(least) || n > int64(most) {
				return fmt.Errorf("has a wrong item %d: %d is not in the range %d to %d", i+1, n, least, most)
			}
			parsed = append(parsed, int(n))
		}
		*into = parsed
		return nil
	}}
}

func level(key string, into *slog.Level) setting {
	var name string
	s := choice(key, &name, "debug", "info", "warn", "error")
	set := s.set
	s.set = func(value any) error {
		if err := set(value); err != nil {
			return err
		}
		return into.UnmarshalText([]byte(name))
	}
	return s
}

// wrongType names value's type in TOML's own words.
func wrongType(want string, value any) error {
	is := "a date or time"
	switch value.(type) {
	case string:
		is = "a string"
	case int64:
		is = "an integer"
	case float64:
		is = "a float"
	case bool:
		is = "a boolean"
	case []any:
		is = "a list"
	case map[string]any:
		is = "a table"
	case []map[string]any:
		is = "a list of tables"
	}
	return fmt.Errorf("must be %s, not %s", want, is)
}

func optional(check func(string) error) func(string) error {
	return func(s string) error {
		if s == "" {
			return nil
		}
		return check(s)
	}
}

var dnsSubdomain = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
})

// dnsName checks an RFC 1123 name as Kubernetes has it.
func dnsName(most int) func(string) error {
	return func(s string) error {
		if len(s) > most || !dnsSubdomain().MatchString(s) {
			return fmt.Errorf("is not a name of at most %d lower-case letters, digits, '-' and '.'", most)
		}
		return nil
	}
}

func printable(s string) error {
	if len(s) > 128 || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("is not an id of at most 128 visible ASCII characters")
	}
	return nil
}

func absolute(s string) error {
	if !filepath.IsAbs(s) || strings.ContainsRune(s, 0) {
		return fmt.Errorf("is not an absolute path")
	}
	return nil
}

// socketPath checks the length: sun_path has room for 107 bytes and a final zero (unix(7)).
func socketPath(s string) error {
	if len(s) > 107 {
		return fmt.Errorf("is longer than the 107 bytes that a socket's path may have")
	}
	return absolute(s)
}

// httpsURL also refuses plain http: the token would travel unencrypted.
func httpsURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("is not an https:// URL of a host")
	}
	return nil
}

func hostPort(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if n, convErr := strconv.Atoi(port); err != nil || convErr != nil || host == "" || n < 1 || n > 65535 {
		return "", fmt.Errorf("%q is not host:port", s)
	}
	return s, nil
}

var kindName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9_]{1,15}$`) })

// network takes a prefix such as "10.96.0.0/12".
func network(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("%q is no network, such as %q", s, "10.96.0.0/12")
	}
	if p != p.Masked() {
		return p, fmt.Errorf("%q has bits set behind its length; the network is %q", s, p.Masked())
	}
	return p, nil
}

// linkKind refuses the kinds that borrow the MAC of a link below them. To match one of those by MAC
// would configure the wrong link, on a test machine too.
func linkKind(s string) (string, error) {
	if !kindName().MatchString(s) {
		return "", fmt.Errorf("%q is not a kind of link, such as %q", s, "veth")
	}
	if slices.Contains([]string{"bond", "bridge", "team", "vlan"}, s) {
		return "", fmt.Errorf("%q is never taken for physical: such a link borrows the MAC of another", s)
	}
	return s, nil
}

func namePattern(s string) (string, error) {
	if _, err := path.Match(s, ""); err != nil || s == "" {
		return "", fmt.Errorf("%q is not a pattern of link names, such as %q", s, "storage*")
	}
	return s, nil
}
