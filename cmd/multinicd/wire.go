package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	v1 "multinicd/api/v1"
	"multinicd/host"
	"multinicd/host/bus"
	"multinicd/host/kernel"
	"multinicd/host/kubelet"
	"multinicd/host/survey"
	"multinicd/internal/apply"
	"multinicd/internal/config"
	"multinicd/internal/daemon"
	"multinicd/internal/daemon/asked"
	"multinicd/internal/daemon/status"
	"multinicd/internal/filestep"
	"multinicd/internal/kube"
	"multinicd/internal/kube/credential"
	"multinicd/internal/node"
	"multinicd/plan"
)

// wired is the whole program. Only the source of its orders is missing.
type wired struct {
	cfg     config.Config
	node    string // name.Name
	name    node.Name
	log     *slog.Logger
	host    *host.Host
	kernel  *kernel.Kernel
	bus     *bus.Bus
	survey  *survey.Survey
	kubelet *kubelet.Kubelet
	api     *kube.Client // nil: no cluster is configured
	idle    string       // why there is none
	job     string       // name of the Job in whose Pod this runs; empty: in none
	machine *node.Machine
	applier *apply.Applier
	daemon  *daemon.Daemon
}

// loadConfig reads the configuration of the host. In a Job that is not the configuration of the
// container.
func loadConfig(c *cli.Context) (config.Config, error) {
	path := c.String("config")
	if !c.IsSet("config") {
		path = filepath.Join(c.String("root"), path)
	}
	cfg, err := config.Load(path)
	if errors.Is(err, fs.ErrNotExist) && !c.IsSet("config") {
		return config.Default(), nil
	}
	if err != nil {
		return cfg, exitError{exitUsage, err}
	}
	return cfg, nil
}

func wire(c *cli.Context) (*wired, error) {
	w, err := wireHost(c)
	if err != nil {
		return nil, err
	}
	if err := w.wireAPI(); err != nil {
		return nil, exitError{exitFailed, err}
	}
	return w, w.wireDaemon(c.Context)
}

// wireService is wire for the service. The service looks after the NICs even if nothing leads to
// the cluster.
func wireService(c *cli.Context) (*wired, error) {
	w, err := wireHost(c)
	if err != nil {
		return nil, err
	}
	if err := w.wireAPI(); err != nil {
		w.idle = err.Error()
	}
	return w, w.wireDaemon(c.Context)
}

// wireHost wires only what a command needs that touches no NIC.
func wireHost(c *cli.Context) (*wired, error) {
	cfg, err := loadConfig(c)
	if err != nil {
		return nil, err
	}
	level := cfg.Log.Level
	if name := c.Command.Name; level == slog.LevelInfo && (name == "plan" || name == "doctor" || c.Bool("dry-run")) {
		level = slog.LevelWarn // the answer itself tells what was found out
	}
	w := &wired{cfg: cfg, job: c.String("job"), log: slog.New(host.LogHandler(os.Stderr, level))}
	if w.host, err = host.New(c.String("root")); err != nil {
		return nil, exitError{exitFailed, err}
	}
	if w.kernel, err = kernel.New(w.host, w.log); err != nil {
		return nil, exitError{exitFailed, err}
	}
	w.bus = bus.New(w.host, w.kernel, w.log)
	w.survey, w.kubelet = survey.New(w.host, w.kernel, w.bus, w.log), kubelet.New(w.host)
	if err := w.findName(c); err != nil {
		return nil, exitError{exitFailed, err}
	}
	return w, nil
}

func (w *wired) wireAPI() error {
	if w.job != "" {
		return w.wirePod()
	}
	exists := func(path string) bool { _, err := os.Stat(filepath.Join(w.host.Root, path)); return err == nil }
	if w.idle = w.cfg.Idle(exists); w.idle != "" || w.cfg.Source.Mode == "file" {
		return nil
	}
	a := w.cfg.API
	opts := kube.Options{Node: w.node, Namespace: a.Namespace, ReportNamespace: a.ReportNamespace, Version: version,
		Server: a.Server, CAFile: a.CAFile, TokenFile: a.TokenFile, Kubeconfig: a.Kubeconfig, Log: w.log}
	if a.Server == "" && a.Kubeconfig == "" {
		opts.CredentialDir = w.credentialDir()
	}
	client, err := kube.New(opts)
	if errors.Is(err, credential.ErrNone) {
		w.idle = err.Error()
		return nil
	} else if err != nil {
		return fmt.Errorf("reading the credential: %w", err)
	}
	w.api = client
	return nil
}

// podCredential is where the kubelet puts the credential of a Pod's ServiceAccount.
const podCredential = "/var/run/secrets/kubernetes.io/serviceaccount"

// wirePod reaches the API server as every Pod does. The paths are the container's, whatever the
// root is.
func (w *wired) wirePod() error {
	server := os.Getenv("KUBERNETES_SERVICE_HOST")
	if server == "" {
		return errors.New("KUBERNETES_SERVICE_HOST is not set: --job is for a Pod of the cluster")
	}
	port := os.Getenv("KUBERNETES_SERVICE_PORT")
	if port == "" {
		port = "443"
	}
	client, err := kube.New(kube.Options{Node: w.node, Namespace: w.cfg.API.Namespace, ReportNamespace: w.cfg.API.ReportNamespace, Version: version,
		Server: "https://" + net.JoinHostPort(server, port), CAFile: filepath.Join(podCredential, "ca.crt"), TokenFile: filepath.Join(podCredential, "token"), Log: w.log})
	if err != nil {
		return fmt.Errorf("reading the Pod's credential: %w", err)
	}
	w.api = client
	return nil
}

func (w *wired) wireDaemon(ctx context.Context) error {
	boot, err := w.host.BootID()
	if err != nil {
		return exitError{exitFailed, err}
	}
	record := func() plan.Record { return w.applier.Record() }
	w.machine = &node.Machine{Host: w.host, Kernel: w.kernel, Survey: w.survey, Kubelet: w.kubelet, API: w.api, Deny: w.cfg.Links.DenyNames, Kinds: w.cfg.Links.VirtualKinds,
		Plain: w.cfg.Routing.SameSubnet == "off", Tables: w.cfg.Routing.AllowTables, Guards: w.cfg.Routing.Protect,
		NoTakeOver: w.cfg.Links.TakeOver == "none", NoAdopt: !w.cfg.Links.Adopt, Record: record, DAD: node.DAD(w.cfg.Backend)}
	chosen := node.NewDispatch(w.survey, w.cfg.Backend.Name, node.Backends(w.host, w.bus, w.cfg.Backend, w.cfg.State.Dir), record, w.log)
	stack := chosen.Detect(ctx)
	dir := w.cfg.State.Dir
	w.applier = &apply.Applier{Backend: chosen, Links: w.machine, Files: w.host, Ours: node.MayChange, Manager: node.NewServices(w.bus, w.log), Log: w.log, Dir: dir, Boot: boot,
		ProbeTimeout: w.cfg.Probe.Timeout, VerifyTimeout: 5 * time.Second, SettleTimeout: 300 * time.Millisecond, At: failpoint()}
	w.daemon = &daemon.Daemon{Wiring: daemon.Wiring{Node: w.node, NodeEvidence: w.name.Evidence, NodeDoubt: w.doubtLine, Version: version, Executor: v1.ExecutorDaemon, OnDelete: w.cfg.OnDelete, NoCleanup: !w.cfg.Source.Cleanup,
		Backend: stack.Backend, Evidence: stack.Evidence, Dir: dir, Resync: w.cfg.Source.Resync, Instance: w.cfg.InstanceID,
		Unsupported: chosen.Unsupported, Notify: host.Notify{}, Applier: w.applier, Machine: w.machine, Files: w.host, Log: w.log, Whose: w.kernel.Author, Namer: w.namer,
		Edits: func(ctx context.Context, ready, changed func()) error {
			return w.host.WatchFiles(ctx, node.Watched(), node.OurFile, ready, changed)
		}}}
	w.machine.Reached, w.applier.Alive = w.daemon.Reached, w.daemon.Alive
	w.daemon.Mode = w.cfg.Source.Mode
	w.applier.Probe = node.NewProber(w.machine, w.cfg.Probe, w.daemon.InContact)
	return nil
}

// lock keeps two processes from changing one host.
func (w *wired) lock(ctx context.Context, wait time.Duration) (func(), error) {
	dir := filepath.Join(w.host.Root, w.cfg.State.Dir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, exitError{exitFailed, fmt.Errorf("making the state folder: %w", err)}
	}
	// The kubelet makes the folder 0755 for the first Job on a host.
	if err := w.host.Private(w.cfg.State.Dir); err != nil {
		return nil, exitError{exitFailed, fmt.Errorf("looking at the state folder: %w", err)}
	}
	release, err := w.host.Lock(ctx, filepath.Join(w.cfg.State.Dir, "lock"), wait)
	if errors.Is(err, host.ErrLocked) {
		return nil, exitError{exitLocked, err}
	} else if err != nil {
		return nil, exitError{exitFailed, err}
	}
	// These files were left half written by a process that was killed. Nobody else writes now.
	for _, f := range append(node.Folders(), filestep.Folder{Dir: w.cfg.State.Dir}) {
		if err := w.host.Sweep(f.Dir, f.Names); err != nil {
			w.log.Warn("a temporary file is left", "file", f.Dir, "err", err)
		}
	}
	return release, nil
}

func (w *wired) serve(ctx context.Context) error {
	release, err := w.lock(ctx, 30*time.Second)
	if err != nil {
		return err
	}
	defer release()
	w.log.Info("starting", "version", version, "node", w.node, "named", w.name.Evidence, "stack", w.daemon.Backend, "evidence", w.daemon.Evidence, "source", w.cfg.Source.Mode)
	if doubt := w.doubtLine(); doubt != "" {
		w.log.Warn("the node's name is in doubt", "node", w.node, "reason", doubt)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	switch {
	case w.cfg.Source.Mode == "file":
		w.daemon.Source = fileSource{w}
	case w.api != nil:
		w.daemon.Source, w.daemon.Reporter, w.daemon.Keeper = apiSource{w}, apiReporter{w.api, w.node}, w.keeper(cancel)
	default:
		w.daemon.Source = idleSource{w, cancel}
	}
	// What a change needed goes back to the host. Go itself would keep a part of it for the next one.
	w.daemon.Resting = debug.FreeOSMemory
	w.daemon.Socket = func() (net.Listener, error) { return listen(w.cfg.Status.Socket) }
	if err := w.daemon.Run(ctx); err != nil {
		return exitError{exitFailed, err}
	}
	return nil
}

// listen makes the status socket. It replaces a socket that a killed daemon left: the lock says
// that no daemon serves it.
func listen(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("making the folder of the status socket: %w", err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("removing a stale status socket: %w", err)
	}
	// The kernel gives a socket's file the mode of the socket, less the umask (unix_bind in
	// net/unix/af_unix.c, 6.18): so nobody else can ask even in the first moment.
	ownerOnly := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.Fchmod(int(fd), socketMode) })
	}}
	l, err := ownerOnly.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listening for status requests: %w", err)
	}
	if err := os.Chmod(path, socketMode); err != nil { // whatever the umask is, and the kernel does
		return nil, errors.Join(fmt.Errorf("closing the status socket to others: %w", err), l.Close())
	}
	return l, nil
}

// socketMode of the status socket: who may connect to it may have the NICs given back.
const socketMode = 0o600

// source is the file to read the object from: the one that was named, else the one in the
// configuration. "" means the API server.
func (w *wired) source(file string) string {
	if file == "" && w.cfg.Source.Mode == "file" {
		return w.cfg.Source.File
	}
	return file
}

func (w *wired) apply(ctx context.Context, file string, wait time.Duration) (status.Node, error) {
	file = w.source(file)
	wish, err := w.wish(ctx, file)
	if err != nil {
		return status.Node{}, err
	}
	release, err := w.lock(ctx, wait)
	var code exitError
	if errors.As(err, &code) && code.code == exitLocked {
		err = exitError{exitLocked, fmt.Errorf("%w; where that is the service, it applies its object by itself: multinicd status shows how it is, and multinic-bridge trigger has it try again now", code.err)}
	}
	if err != nil {
		return status.Node{}, err
	}
	defer release()
	w.daemon.Executor, w.daemon.Job = v1.ExecutorJob, w.job
	if file == "" {
		w.daemon.Reporter = apiReporter{w.api, w.node}
	} else {
		w.machine.Reached = w.daemon.Reached
		w.daemon.Mode = "file"
	}
	said, err := w.daemon.Once(ctx, wish)
	if err != nil {
		return said, exitError{exitFailed, err}
	}
	return said, nil
}

// rollback asks the daemon for a rollback. If no daemon runs, it does the rollback itself.
func (w *wired) rollback(ctx context.Context, back bool) (status.Node, error) {
	request := daemon.AskUndo
	if back {
		request = daemon.AskRollback
	}
	r, err := w.byDaemon(ctx, request, func() (r daemon.Reply, err error) {
		r.Status, err = w.daemon.Rollback(ctx, back)
		return r, err
	})
	return r.Status, err
}

// cleanup asks the daemon for a cleanup. If no daemon runs, it does the cleanup itself.
func (w *wired) cleanup(ctx context.Context) (status.Node, []status.Given, error) {
	r, err := w.byDaemon(ctx, daemon.AskCleanup, func() (r daemon.Reply, err error) {
		if w.api != nil {
			w.daemon.Reporter = apiReporter{w.api, w.node}
		}
		r.Status, r.Given, err = w.daemon.Cleanup(ctx)
		return r, err
	})
	if r.Given == nil {
		r.Given = []status.Given{}
	}
	return r.Status, r.Given, err
}

// trigger asks the daemon to try at once what waits for its next retry. Without a daemon nothing does.
func (w *wired) trigger(ctx context.Context) (status.Node, error) {
	r, err := w.byDaemon(ctx, daemon.AskTrigger, func() (daemon.Reply, error) {
		return daemon.Reply{}, errors.New("no daemon runs here that could be asked: systemctl start multinicd, or multinicd apply for once")
	})
	return r.Status, err
}

// byDaemon has the daemon carry out a request. If no daemon runs, it calls do, under the lock.
func (w *wired) byDaemon(ctx context.Context, request string, do func() (daemon.Reply, error)) (daemon.Reply, error) {
	release, err := w.lock(ctx, 0)
	var code exitError
	if errors.As(err, &code) && code.code == exitLocked {
		r, askErr := ask(w.cfg.Status.Socket, request, 70*time.Second)
		if askErr != nil {
			return daemon.Reply{}, exitError{exitLocked, errors.Join(err, askErr)}
		}
		if r.Error != "" {
			return daemon.Reply{}, exitError{exitFailed, errors.New(r.Error)}
		}
		return r, nil
	} else if err != nil {
		return daemon.Reply{}, err
	}
	defer release()
	r, err := do()
	if err != nil {
		return r, exitError{exitFailed, err}
	}
	return r, nil
}

// wish reads the object once.
func (w *wired) wish(ctx context.Context, file string) (asked.Wish, error) {
	if file != "" {
		obj, err := readObject(file)
		if err != nil {
			return asked.Wish{}, exitError{exitFailed, err}
		}
		return asked.Wish{Object: obj}, nil
	}
	if w.api == nil {
		return asked.Wish{}, exitError{exitFailed, fmt.Errorf("%s; name a file with -f to do without a cluster", w.idle)}
	}
	o := w.api.Get(ctx)
	if o.Err != nil {
		return asked.Wish{}, exitError{exitFailed, ofAnother(o.Err, w.node)}
	}
	return asked.Wish{Object: o.Object, Gone: o.Absent, Contact: o.Contact}, nil
}

func (w *wired) close() { w.kernel.Close() }
