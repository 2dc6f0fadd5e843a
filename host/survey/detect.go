package survey

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"

	"multinicd/host"
	"multinicd/host/bus"
	"multinicd/nic"
)

// stackTimeout bounds the question who configures the network, or a link; only NetworkManager takes time.
const stackTimeout = 10 * time.Second

// Detect finds out who configures links in general here. It asks files, and where those do not tell, for the link with the default route.
func (s *Survey) Detect(ctx context.Context) (Stack, error) {
	return s.stack(ctx, env.forHost)
}

// Stack finds out who configures one link: who has it in hand, else who is meant to, else whoever configures links in general.
// NetworkManager is asked over the bus, if it has run in this boot, and nobody else is.
func (s *Survey) Stack(ctx context.Context, l nic.Link) (Stack, error) {
	return s.stack(ctx, func(e env) Stack { return e.forLink(l) })
}

// Has says whether a backend can be had still: what it writes for has run in this boot. No bus is asked.
func (s *Survey) Has(backend string) bool {
	networkd, manager := s.host.Exists(host.NetworkdState), s.host.Exists(managerDevices)
	switch backend {
	case Netplan:
		return networkd
	case NetplanNetworkManager:
		return manager && slices.ContainsFunc(generators, s.host.Exists)
	}
	return manager
}

func (s *Survey) stack(ctx context.Context, choose func(env) Stack) (Stack, error) {
	ctx, cancel := context.WithTimeout(ctx, stackTimeout)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return Stack{}, err
	}
	var failed error
	found := choose(s.env(ctx, &failed))
	if failed != nil {
		return Stack{}, fmt.Errorf("finding out who configures the network: %w", failed)
	}
	return found, nil
}

// env is this machine. What could not be read is joined to failed.
func (s *Survey) env(ctx context.Context, failed *error) env {
	return env{
		exists:      s.host.Exists,
		system:      s.system(),
		initialised: func(index int) bool { return s.host.Exists(fmt.Sprintf("/run/udev/data/n%d", index)) }, // where udev keeps what it knows of a link
		networkd: func(index int) (state host.LinkState, file string) {
			state, file, err := s.host.NetworkdLink(index)
			*failed = errors.Join(*failed, err)
			return state, file
		},
		manager: func(link string) (bus.Device, error) { return s.manager.NMShows(ctx, link) },
		yaml: func(l nic.Link) ([]definition, string, string) {
			found, renderer, file, err := s.netplanFor(l)
			*failed = errors.Join(*failed, err)
			return found, renderer, file
		},
		uplink: func() (nic.Link, bool) {
			l, ok, err := s.uplink(ctx)
			*failed = errors.Join(*failed, err)
			return l, ok
		},
	}
}

// system is PRETTY_NAME of os-release(5), for the reader.
func (s *Survey) system() (name string) {
	data, _, err := s.host.Read("/etc/os-release")
	if err != nil {
		return ""
	}
	_ = host.Ini(data, func(_, key, value string) error {
		if key == "PRETTY_NAME" {
			name = strings.Trim(value, `"'`)
		}
		return nil
	})
	return name
}

// netplanFor gives netplan's definitions that are for a link, and the renderer of the whole with the file that says it, the last one.
func (s *Survey) netplanFor(l nic.Link) (found []definition, renderer, file string, err error) {
	files, err := s.sourceFiles(sources[0])
	if err != nil {
		return nil, "", "", err
	}
	driver := ""
	if target, err := os.Readlink(s.host.Path("/sys/class/net/" + l.Name + "/device/driver")); err == nil && l.Name != "" {
		driver = filepath.Base(target)
	}
	for _, f := range files {
		y, ok, err := s.netplanFile(f)
		if err != nil {
			return nil, "", "", err
		}
		if !ok {
			continue // netplan itself will say so when it is asked
		}
		if y.renderer != "" {
			renderer, file = y.renderer, f
		}
		if l.Name == "" {
			continue
		}
		for _, d := range y.definitions {
			if d.matches(l, driver) != "" {
				found = append(found, d)
			}
		}
	}
	return found, renderer, file, nil
}

// netplanFile is what a file of netplan says; false where it is gone by now, no file or no YAML. A file is read again only if its size, time or inode has
// changed, as for Claims: on a node where changes of many NICs fail, that would be half of what each try costs. An error means that what it says is not
// known.
func (s *Survey) netplanFile(file string) (y netplanFile, ok bool, err error) {
	s.netplan.Lock()
	defer s.netplan.Unlock()
	at, err := s.stamp(file)
	if y, ok = s.netplan.files[file]; ok && err == nil && y.stamp == at {
		return y, !y.broken, nil
	}
	var data []byte
	if err == nil && at.mode.IsRegular() {
		data, at, err = s.steady(file, at)
	}
	if errors.Is(err, fs.ErrNotExist) || err == nil && !at.mode.IsRegular() {
		return netplanFile{}, false, nil
	} else if err != nil {
		return netplanFile{}, false, err
	}
	y = netplanFile{stamp: at}
	var tree netplanTree
	if yaml.Unmarshal(data, &tree) != nil {
		y.broken = true
	} else {
		y.renderer = tree.Network.Renderer
		y.definitions, _ = parseNetplan(file, data) // netplan itself will say what is wrong
	}
	if s.netplan.files == nil {
		s.netplan.files = map[string]netplanFile{}
	}
	s.netplan.files[file] = y
	return y, !y.broken, nil
}

// netplanFile is one that was parsed. definitions are shared: nobody changes them.
type netplanFile struct {
	stamp
	broken      bool // no YAML
	renderer    string
	definitions []definition
}

// netplanCache has the files that were parsed last, by path.
type netplanCache struct {
	sync.Mutex
	files map[string]netplanFile
}

// uplink is the link with a default route in main, of several the one with the least metric.
func (s *Survey) uplink(ctx context.Context) (found nic.Link, ok bool, err error) {
	links, err := s.links.Links(ctx)
	if err != nil {
		return nic.Link{}, false, err
	}
	least := 0
	for _, l := range links {
		for _, r := range l.Routes {
			if main := r.Table == 0 || r.Table == nic.TableMain; main && r.IsDefault() && (!ok || r.Metric < least) {
				found, least, ok = l, r.Metric, true
			}
		}
	}
	return found, ok, nil
}
