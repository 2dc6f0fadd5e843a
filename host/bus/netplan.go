package bus

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"multinicd/host"

	"github.com/godbus/dbus/v5"
)

var (
	// ErrRefused: netplan does not accept /etc/netplan with the change. The text of the error is
	// netplan's own, with place and reason.
	ErrRefused = errors.New("netplan refuses the configuration")
	// ErrRefusedAlready: netplan does not accept /etc/netplan as it is now, even without the
	// change. Somebody else's file is broken, and the next boot will have no network; or netplan
	// itself does not work.
	ErrRefusedAlready = errors.New("netplan refuses the configuration that is there already")
	// ErrPending: a `netplan try` waits for its confirmation. When it ends, it writes /etc/netplan
	// anew.
	ErrPending = errors.New("a netplan try is pending")
)

const (
	netplanService = "io.netplan.Netplan"
	netplanObject  = "/io/netplan/Netplan"
	netplanConfig  = "io.netplan.Netplan.Config"
	netplanProbe   = "multinicd-probe" // the id of our definition; 15 bytes at most
	// netplan is a Python program that the service starts for each question. That takes 0.15 s on
	// an idle machine, more on a loaded one.
	netplanTimeout = 30 * time.Second
)

// NetplanValidate asks the host's own netplan whether it would accept /etc/netplan with these
// files. The keys are names without a folder, ending in ".yaml". A value is the whole content; nil
// means that the file is to be absent. /etc/netplan itself is not touched.
//
// Exactly these bytes are judged. io.netplan.Netplan.Config copies the YAML of /etc, /run and /lib
// into a folder of its own under /run/netplan, and the files are put there. Get then makes netplan
// parse and check the whole tree, as its generator does at boot. Cancel throws the copy away.
// Unlike Set, Get does not disturb another client's pending Set, and is not blocked by a Set that a
// killed client left behind (src/dbus.c of netplan 0.101 to 1.2).
//
// The absence of an error proves nothing: netplan 1.1.2 answers Get and Set with success when its
// parser fails (its command line logs the error and ends with 0). So a definition of our own goes
// last into the copy, and Get's answer has to show it; the reason of the failure is lost then.
// Before 0.106 Get does not check at all. A file that must be refused finds that out, and Set is
// then asked instead.
//
// Errors: ErrRefused, ErrRefusedAlready, ErrPending. All other errors, ErrNoBus above all, mean
// that netplan could not be asked.
func (b *Bus) NetplanValidate(ctx context.Context, files map[string][]byte) error {
	if err := b.netplanValidate(ctx, files); err != nil {
		return fmt.Errorf("validating with netplan: %w", err)
	}
	return nil
}

func (b *Bus) netplanValidate(ctx context.Context, files map[string][]byte) error {
	for name := range files {
		if path.Base(name) != name || !strings.HasSuffix(name, ".yaml") {
			return fmt.Errorf("%q is no name of a netplan file", name)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, netplanTimeout)
	defer cancel()
	bus, err := b.netplanAsk(ctx)
	if err != nil {
		return err
	}
	defer bus.close()
	method := b.netplanJudge.Load()
	if method == nil {
		if method, err = b.findNetplanJudge(ctx, bus); err != nil {
			return err
		}
		b.netplanJudge.Store(method)
	}
	refusal, err := b.netplanJudges(ctx, bus, *method, files)
	if err != nil || refusal == "" {
		return err
	}
	// Is the fault in the change? This is asked only now, so that the good case stays quick.
	before, err := b.netplanJudges(ctx, bus, *method, nil)
	if err != nil {
		return err
	}
	if before != "" {
		b.netplanJudge.Store(nil) // it refuses everything, so it proves nothing
		return fmt.Errorf("%w: %s", ErrRefusedAlready, before)
	}
	return fmt.Errorf("%w: %s", ErrRefused, refusal)
}

// netplanAsk connects to the bus, unless a Try waits (ErrPending). The backup folder of a Try
// counts only while the service runs, because the service has the Try in its memory.
func (b *Bus) netplanAsk(ctx context.Context) (systemBus, error) {
	bus, err := b.dial(ctx)
	if err != nil {
		return bus, err
	}
	if _, err := os.Lstat(b.host.Path("/run/netplan/config-BACKUP")); errors.Is(err, fs.ErrNotExist) {
		return bus, nil
	}
	running, err := bus.runs(ctx, netplanService)
	if err == nil && running {
		err = ErrPending
	}
	if err != nil {
		bus.close()
	}
	return bus, err
}

// findNetplanJudge finds the method that refuses what must be refused.
func (b *Bus) findNetplanJudge(ctx context.Context, bus systemBus) (*string, error) {
	bad := map[string][]byte{"zy-" + netplanProbe + ".yaml": []byte("network: {version: 2, ethernets: {" + netplanProbe + ": {no-such-key: true}}}\n")}
	for _, method := range []string{"Get", "Set"} {
		refusal, err := b.netplanJudges(ctx, bus, method, bad)
		if err != nil {
			return nil, err
		}
		if refusal != "" {
			return &method, nil
		}
	}
	return nil, errors.New("this netplan accepts an unknown key: it cannot be asked")
}

// netplanJudges gives netplan's reason for refusing the files; "" if it accepts them.
func (b *Bus) netplanJudges(ctx context.Context, bus systemBus, method string, files map[string][]byte) (refusal string, err error) {
	var object dbus.ObjectPath
	if _, err := bus.call(ctx, netplanService, netplanObject, netplanService+".Config", nil, &object); err != nil {
		return "", fmt.Errorf("making a copy of the configuration: %w", err)
	}
	folder := b.host.Path("/run/netplan/config-" + path.Base(string(object)))
	defer func() { b.netplanCancel(ctx, bus, object, folder) }()
	for name, data := range files {
		if err := putCopy(filepath.Join(folder, "etc/netplan", name), data); err != nil {
			return "", err
		}
	}
	var answered bool
	if method == "Set" {
		var done bool
		args := []any{"network.version=2", ""} // changes nothing, but makes netplan read all files
		answered, err = bus.call(ctx, netplanService, object, netplanConfig+".Set", args, &done)
	} else {
		probe := []byte("network: {version: 2, ethernets: {" + netplanProbe + ": {}}}\n")
		if err := putCopy(filepath.Join(folder, "etc/netplan", "zz-"+netplanProbe+".yaml"), probe); err != nil {
			return "", err
		}
		var merged string
		answered, err = bus.call(ctx, netplanService, object, netplanConfig+".Get", nil, &merged)
		if err == nil && !strings.Contains(merged, netplanProbe) {
			return "it does not say why; `netplan get` does, once the files are in place", nil
		}
	}
	if err == nil || !answered {
		return "", err
	}
	return netplanReason(err.Error(), folder), nil
}

// putCopy puts a file into netplan's copy, or takes it out.
func putCopy(p string, data []byte) (err error) {
	if data == nil {
		err = os.Remove(p)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	} else {
		err = os.WriteFile(p, data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("putting %s into netplan's copy: %w", filepath.Base(p), host.WithoutPath(err))
	}
	return nil
}

// netplanCancel throws the copy away, whatever the answer was. If the service does not do it, it
// deletes the copy itself.
func (b *Bus) netplanCancel(ctx context.Context, bus systemBus, object dbus.ObjectPath, folder string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), busTimeout)
	defer cancel()
	var done bool
	if _, err := bus.call(ctx, netplanService, object, netplanConfig+".Cancel", nil, &done); err != nil {
		b.log.Warn("netplan did not throw its copy away", "file", folder, "err", err)
	}
	_ = os.RemoveAll(folder)
}

// netplanReason takes out of the error text of netplan's service (a Python traceback) the part that
// a person needs. Paths are changed to the real ones: "/etc/netplan/90-multinic1.yaml:3:5: Error in
// network definition: unknown key 'foo'". A text that it does not recognise is returned as it is.
func netplanReason(text, folder string) string {
	at := strings.LastIndex(text, path.Base(folder)+"/")
	if at < 0 {
		return strings.TrimSpace(text)
	}
	text = text[at+len(path.Base(folder)):]
	line, _, _ := strings.Cut(text, "\n")
	return strings.TrimSpace(line)
}
