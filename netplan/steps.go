package netplan

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"multinicd/internal/filestep"
	"multinicd/nic"
	"multinicd/plan"
	"multinicd/sysctl"
)

// Bus asks the real netplan, and networkd.
type Bus interface {
	// NetplanValidate asks whether netplan accepts Dir with these files in place of what is there
	// (nil data: absent).
	NetplanValidate(ctx context.Context, files map[string][]byte) error
	// NetworkdFile gives the file by which networkd has configured the link with an ifindex; ""
	// where there is none, or where nobody can tell.
	NetworkdFile(index int) string
}

// Backend makes the steps for hosts of netplan and networkd. One goroutine uses it at a time.
type Backend struct {
	Files filestep.Files
	Bus   Bus
	DAD   bool // ask neighbours before an IPv4 address is taken
	// Activation says who is asked to take over what netlink has done: see the constants.
	Activation string
	render     func(c nic.Config) []byte
	renderer   string // that render names
	// Memory is what netplan has accepted before; see Validate.
	Memory Memory
	memo   filestep.Memo
}

// New gives a backend that has accepted nothing yet.
func New(f filestep.Files, b Bus) *Backend {
	return &Backend{Files: f, Bus: b, render: Render, renderer: rendererNetworkd}
}

// Steps turns an action into the steps of its change, each with its undo. There are none where the
// files have the same bytes and the kernel has the same state. Steps reads files and changes
// nothing; an error means that a file could not be read.
func (b *Backend) Steps(_ context.Context, a plan.Action) ([]plan.Step, error) {
	persist, runtime, err := b.files(a)
	if err != nil {
		return nil, err
	}
	var live, late []plan.Step
	if !a.Change.Empty() {
		live = append(live, plan.Step{Kind: plan.StepGuard, Do: plan.Op{Check: plan.CheckGuard}})
		live = append(live, plan.Live(a.Change, b.DAD)...)
		live = append(live, plan.Step{Kind: plan.StepVerify, Do: plan.Op{Check: plan.CheckVerify}},
			plan.Step{Kind: plan.StepProbe, Do: plan.Op{Check: plan.CheckProbe}})
	}
	if len(persist) > 0 {
		late = append(late, plan.Step{Kind: plan.StepValidate, Do: plan.Op{Check: plan.CheckValidate}})
		persist[len(persist)-1].Final = true
		late = append(late, persist...)
	}
	return b.activated(a, live, append(late, runtime...)), nil
}

// files gives the steps that put the YAML, and what networkd knows of it, in place.
func (b *Backend) files(a plan.Action) (persist, runtime []plan.Step, err error) {
	want := map[string][]byte{}
	if a.Kind == plan.Configure {
		want[File(a.NIC)] = b.render(a.NIC)
		if data := sysctl.Render(a.NIC); data != nil {
			want[sysctl.File(a.NIC)] = data
		}
	}
	stale, err := b.stale(a, path.Join(Dir, "90-"+nic.NamePrefix+"*.yaml"), OurFile, want)
	if err != nil {
		return nil, nil, err
	}
	conf, err := b.stale(a, sysctl.Pattern, sysctl.OurFile, want)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range slices.Backward(slices.Sorted(maps.Keys(want))) {
		mode := fs.FileMode(0o600)
		if sysctl.OurFile(name) {
			mode = 0o644
		}
		step, err := filestep.Replace(b.Files, plan.StepPersist, name, want[name], mode)
		if err != nil {
			return nil, nil, err
		}
		persist = append(persist, step...)
	}
	var former []string // behind ours: a boot in between finds both, which say the same NIC's name
	if a.Kind == plan.Configure && a.Link != nil {
		former = slices.DeleteFunc(slices.Clone(a.Link.Former), func(f string) bool { return want[f] != nil || slices.Contains(stale, f) })
	}
	for _, name := range slices.Concat(conf, stale, former) {
		step, err := filestep.Replace(b.Files, plan.StepPersist, name, nil, 0)
		if err != nil {
			return nil, nil, err
		}
		persist = append(persist, step...)
	}
	runtime, err = b.runtime(a, stale)
	return persist, runtime, err
}

// Remember has the backend read our files of other NICs once, until it is called again, or not.
func (b *Backend) Remember(yes bool) { b.memo.Remember(yes) }

// stale lists our files that name the NIC's MAC and are not wanted: those under another name, and
// all of them where the NIC is removed.
func (b *Backend) stale(a plan.Action, pattern string, owned func(string) bool, want map[string][]byte) ([]string, error) {
	names, err := b.memo.Glob(b.Files, pattern)
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", pattern, err)
	}
	var out []string
	for _, name := range names {
		if !owned(name) || want[name] != nil {
			continue
		}
		named, err := b.memo.Says(b.Files, name, func(data []byte) bool { return bytes.Contains(data, []byte("\""+a.NIC.MAC.String()+"\"")) })
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
		if named {
			out = append(out, name)
		}
	}
	return out, nil
}

// runtime brings networkd's own files of the NIC up to date. networkd has such files from the first
// boot with our YAML on.
func (b *Backend) runtime(a plan.Action, stale []string) ([]plan.Step, error) {
	var steps []plan.Step
	for _, name := range stale {
		own := nic.Config{Name: strings.TrimSuffix(strings.TrimPrefix(path.Base(name), "90-"), ".yaml")}
		for _, id := range []string{ID(own), formerID(own), lastID(own)} {
			network, link := runtimeFiles(id)
			for _, f := range []string{network, link} {
				step, err := filestep.Replace(b.Files, plan.StepRuntime, f, nil, 0)
				if err != nil {
					return nil, err
				}
				steps = append(steps, step...)
			}
		}
	}
	if a.Kind != plan.Configure {
		return steps, nil
	}
	network, link := runtimeFiles(b.known(a.NIC))
	for _, f := range []string{network, link} {
		data, mode, err := b.Files.Read(f)
		if errors.Is(err, fs.ErrNotExist) && f == network && b.asked(a) == plan.Reload {
			data, mode = skeleton(a.NIC), 0o644
		} else if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, fmt.Errorf("reading %s: %w", f, err)
		}
		step, err := filestep.Replace(b.Files, plan.StepRuntime, f, Retarget(data, a.NIC), mode)
		if err != nil {
			return nil, err
		}
		steps = append(steps, step...)
	}
	return steps, nil
}

// known is the id under which networkd has been told of the NIC in this boot; ID where it has not.
func (b *Backend) known(c nic.Config) string {
	if network, _ := runtimeFiles(formerID(c)); b.has(network) {
		return formerID(c)
	}
	return ID(c)
}

func (b *Backend) has(file string) bool {
	_, _, err := b.Files.Read(file)
	return err == nil
}

// KnownToNetworkd says whether networkd was told of the NIC at boot, so that it configures the link
// by itself.
func KnownToNetworkd(f filestep.Files, c nic.Config) bool {
	for _, id := range []string{ID(c), formerID(c)} {
		network, _ := runtimeFiles(id)
		if _, _, err := f.Read(network); err == nil {
			return true
		}
	}
	return false
}

// Validate asks netplan whether it will accept the files that these steps put in place. If netplan
// refuses one file, the next boot has no network at all, so nothing is persisted without this
// answer.
//
// The answer takes 400 to 500 ms, and 64 NICs that are plugged in at once would each wait for it.
// So netplan is asked once per shape: a file of ours with every value replaced by its kind, beside
// all files of others with every byte, and the netplan that judged. The Memory keeps the answer.
//
// Within a shape only typed values differ: an IPv4 address for another, a number for another.
// netplan does not judge by these. Nor does it judge how many files of ours there are, or which,
// since no file of ours speaks of what is in another. TestRealNetplanAcceptsEveryShape tests this
// with random values.
func (b *Backend) Validate(ctx context.Context, steps []plan.Step) error {
	files := map[string][]byte{}
	for _, s := range steps {
		if f := s.Do.File; f != nil && path.Dir(f.Path) == Dir {
			files[path.Base(f.Path)] = f.Data
		}
	}
	beside, shapes, err := b.shapes(files)
	if err != nil {
		return err
	}
	if b.Memory.has(beside, shapes) {
		return nil
	}
	if err := b.Bus.NetplanValidate(ctx, files); err != nil {
		return err
	}
	b.Memory.add(beside, shapes)
	return nil
}

// The parts that may differ between two files of one shape: values in quotes, and numbers behind a
// key, of so few digits that they fit 32 bits.
var (
	quoted  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`"[0-9a-z:./ _-]+"`) })
	uuids   = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`) })
	rules   = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^priority [0-9]{1,9} from .* table [0-9]{1,9}\b`) })
	numbers = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?m)^( +(?:mtu|metric|table|priority)): [0-9]{1,9}$`)
	})
)

// shapeOf is that of a file of ours, which names the NIC as the file is named.
func shapeOf(file string, data []byte) string {
	s := quoted().ReplaceAllStringFunc(string(data), kind)
	if strings.HasPrefix(s, "#") { // the comment names the MAC
		_, s, _ = strings.Cut(s, "\n")
	}
	own := regexp.MustCompile(`\b` + regexp.QuoteMeta(strings.TrimSuffix(strings.TrimPrefix(path.Base(file), "90-"), ".yaml")) + `\b`)
	return numbers().ReplaceAllString(own.ReplaceAllString(s, "NAME"), "$1: N")
}

// kind says what a value in quotes is. A value of no kind that we write stays as it is: somebody
// else has edited the file.
func kind(text string) string {
	v := strings.Trim(text, "\"")
	if p, err := netip.ParsePrefix(v); err == nil && p.Bits() > 0 {
		return family(p.Addr()) + "/"
	}
	if a, err := netip.ParseAddr(v); err == nil {
		return family(a)
	}
	if _, err := nic.ParseMAC(v); err == nil {
		return "MAC"
	}
	switch {
	case uuids().MatchString(v):
		return "UUID"
	case rules().MatchString(v): // for NetworkManager, in its words; netplan passes it through
		words := strings.Fields(v)
		for i, w := range words {
			if _, err := strconv.Atoi(w); err == nil {
				words[i] = "N"
			} else {
				words[i] = kind(w)
			}
		}
		return strings.Join(words, " ")
	}
	return text
}

func family(a netip.Addr) string {
	if a.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

// netplanDirs are read by netplan in this order; a name in a later one is hidden by an earlier one.
var netplanDirs = []string{Dir, "/run/netplan", "/lib/netplan"}

// judges are the files that tell one netplan from another: its generator, and the library in which
// all of them judge. No pattern has "/usr/lib/*/": the unit's ProtectKernelModules= makes
// /usr/lib/modules a folder that nobody may list.
var judges = []string{
	"/usr/libexec/netplan/generate", "/usr/lib/netplan/generate", "/usr/lib/libnetplan.so*", "/usr/lib/*-linux-gnu*/libnetplan.so*", "/usr/lib64/libnetplan.so*",
}

// shapes digests /etc/netplan as it would be with files in place: beside is all that is not ours
// together with netplan itself, and ours has each shape of our files. Where others speak of names
// like ours, all our files are one shape, with their names.
func (b *Backend) shapes(files map[string][]byte) (beside string, ours []string, err error) {
	var others, named []string
	spoken := false
	add := func(name string, data []byte) {
		if !OurFile(name) {
			others = append(others, fmt.Sprintf("%s %x", name, sha256.Sum256(data)))
			spoken = spoken || bytes.Contains(data, []byte(nic.NamePrefix))
			return
		}
		shape := shapeOf(name, data)
		ours, named = append(ours, shape), append(named, name+" "+shape)
	}
	for _, dir := range netplanDirs {
		names, err := b.Files.Glob(path.Join(dir, "*.yaml"))
		if err != nil {
			return "", nil, fmt.Errorf("listing %s: %w", dir, err)
		}
		for _, name := range names {
			if _, pending := files[path.Base(name)]; pending && dir == Dir {
				continue
			}
			data, _, err := b.Files.Read(name)
			if err != nil {
				return "", nil, fmt.Errorf("reading %s: %w", name, err)
			}
			add(name, data)
		}
	}
	for name, data := range files {
		if data != nil {
			add(path.Join(Dir, name), data)
		}
	}
	for _, pattern := range judges {
		names, err := b.Files.Glob(pattern)
		if err != nil {
			return "", nil, fmt.Errorf("looking for netplan: %w", err)
		}
		for _, name := range names {
			if data, _, err := b.Files.Read(name); err == nil {
				others = append(others, fmt.Sprintf("%s %x", name, sha256.Sum256(data)))
			}
		}
	}
	if spoken {
		ours = []string{digest(named)}
	}
	return digest(others), ours, nil
}

func digest(parts []string) string {
	slices.Sort(parts)
	sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
	return hex.EncodeToString(sum[:])
}
