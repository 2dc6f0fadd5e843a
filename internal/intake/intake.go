package intake

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	v1 "multinicd/api/v1"
	"multinicd/internal/publish"
)

// Options of the door.
type Options struct {
	Log *slog.Logger
	// Listener of the door. Run closes it.
	Listener net.Listener
	// CertFile and KeyFile of the door, PEM. They are read again when they change. Both are "" for
	// HTTP without TLS.
	CertFile, KeyFile string
	// ClientCAFile has the certificates, PEM, of those who sign clients' certificates; "" for none.
	ClientCAFile string
	// Anonymous lets requests through that do not say who sends them.
	Anonymous bool
	// HealthAddress serves /healthz and /readyz; MetricsAddress serves /metrics. Both are host:port;
	// "" or "0" serves nothing.
	HealthAddress, MetricsAddress string
	// Removals says what a NIC means that a list has not got.
	Removals publish.Removals
	// Unknown: nodes without a Node are written under the publisher's own name.
	Unknown bool
	// Rate is how many requests a second one publisher may send, Burst how many at once.
	Rate  float64
	Burst int
	// MaxNodes is how many nodes one request may have.
	MaxNodes int
	// BodyTime is how long a body may take to come, Time how long a whole request may take.
	BodyTime, Time time.Duration
}

const (
	// connections bounds those that are open, and connectionsEach those from one address. The clients
	// in the field leave theirs open, idle, and open another one each time.
	connections, connectionsEach = 512, 64
	// idle is after how long such a connection is closed.
	idle = 30 * time.Second
	// headerTime is how long the header of a request may take, headerSize how large it may be in
	// bytes: it holds a token.
	headerTime, headerSize = 10 * time.Second, 64 << 10
	// eachAtOnce requests of one publisher are worked on at a time, and allAtOnce of all. A body is
	// held in memory.
	eachAtOnce, allAtOnce = 4, 8
	// syncTime is how long a request waits for the Nodes to be read at the start.
	syncTime = 5 * time.Second
)

// Run opens the door until ctx ends, which is no error. Requests that have begun are answered. Run
// returns earlier only if it cannot start.
func Run(ctx context.Context, cfg *rest.Config, o Options) error {
	mgr, direct, err := newManager(cfg, o)
	if err != nil {
		return fmt.Errorf("setting up the door: %w", err)
	}
	listener, err := o.listen(mgr)
	if err != nil {
		return fmt.Errorf("setting up the door: %w", err)
	}
	m := newMeters()
	if served(o.MetricsAddress) {
		if err := m.register(metrics.Registry); err != nil {
			return err
		}
	}
	writer := &publish.Writer{
		Owner: publish.Owner{Name: v1.PublisherIntake, Removals: o.Removals}, Client: direct, Unknown: o.Unknown,
		Directory: func(ctx context.Context) (*publish.Directory, error) { return directory(ctx, mgr.GetCache()) },
	}
	shutdown := o.Time
	err = mgr.Add(&manager.Server{
		Name: "door", Listener: listener, ShutdownTimeout: &shutdown,
		Server: o.server(&door{
			log: o.Log, guard: newGate(direct, o.Anonymous), publisher: writer, meters: m,
			rates: newRates(o.Rate, o.Burst), places: newPlaces(eachAtOnce, allAtOnce),
			most: o.MaxNodes, body: o.BodyTime, whole: o.Time,
		}),
	})
	if err != nil {
		return fmt.Errorf("setting up the door: %w", err)
	}
	o.Log.Info("serving", "address", o.Listener.Addr().String(), "tls", o.CertFile != "", "clientCertificates", o.ClientCAFile != "",
		"anonymous", o.Anonymous, "removals", string(o.Removals))
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("running the door: %w", err)
	}
	return nil
}

// server has bounds on the time that anybody can hold a connection.
func (o Options) server(h http.Handler) *http.Server {
	header := min(headerTime, o.BodyTime)
	return &http.Server{
		Handler: h, ReadHeaderTimeout: header, MaxHeaderBytes: headerSize, IdleTimeout: idle,
		// Before an answer that has read no body, as to a client without a token, net/http waits for
		// the body of up to 256 KiB (1.26).
		ReadTimeout: header + o.BodyTime,
		// The answer is written after the time for the request.
		WriteTimeout: o.Time + headerTime,
		ErrorLog:     slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
}

// listen puts the limits of connections, and TLS, around the listener.
func (o Options) listen(mgr manager.Manager) (net.Listener, error) {
	limited := &fairly{Listener: netutil.LimitListener(o.Listener, connections), places: newPlaces(connectionsEach, connections)}
	if o.CertFile == "" {
		return limited, nil
	}
	files, err := certwatcher.New(o.CertFile, o.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate %s and its key: %w", o.CertFile, err)
	}
	if err := mgr.Add(files); err != nil {
		return nil, err
	}
	var clients *authority
	if o.ClientCAFile != "" {
		clients = &authority{path: o.ClientCAFile, log: o.Log}
		if clients.last, err = clients.read(); err != nil {
			return nil, err
		}
	}
	return tls.NewListener(limited, secure(files, clients)), nil
}

// newManager gives a manager that caches the Nodes, and a client that caches nothing.
func newManager(cfg *rest.Config, o Options) (manager.Manager, client.Client, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, authenticationv1.AddToScheme, authorizationv1.AddToScheme, v1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, nil, err
		}
	}
	cfg = rest.CopyConfig(cfg)
	cfg.QPS = -1 // the API server's own priority and fairness holds us back
	direct, err := client.New(cfg, client.Options{Scheme: scheme})
	if err != nil {
		return nil, nil, err
	}
	grace := o.Time
	mgr, err := manager.New(cfg, manager.Options{
		Scheme: scheme, GracefulShutdownTimeout: &grace,
		Cache:                  cache.Options{ByObject: map[client.Object]cache.ByObject{&corev1.Node{}: {Transform: slimNode}}},
		HealthProbeBindAddress: orNone(o.HealthAddress), Metrics: server.Options{BindAddress: orNone(o.MetricsAddress)},
	})
	if err != nil {
		return nil, nil, err
	}
	if err := mgr.AddHealthzCheck("running", func(*http.Request) error { return nil }); err != nil {
		return nil, nil, err
	}
	err = mgr.AddReadyzCheck("nodes", func(r *http.Request) error {
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		_, err := directory(ctx, mgr.GetCache())
		return err
	})
	return mgr, direct, err
}

func served(address string) bool { return address != "" && address != "0" }

func orNone(address string) string {
	if served(address) {
		return address
	}
	return "0"
}

// directory is made of the Nodes as the cache has them.
func directory(ctx context.Context, nodes cache.Cache) (*publish.Directory, error) {
	soon, cancel := context.WithTimeout(ctx, syncTime)
	defer cancel()
	if !nodes.WaitForCacheSync(soon) {
		return nil, errNotReady
	}
	var list corev1.NodeList
	if err := nodes.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing the Nodes: %w", err)
	}
	all := make([]publish.Machine, len(list.Items))
	for i, n := range list.Items {
		all[i] = publish.Machine{Name: n.Name, ProviderID: n.Spec.ProviderID, SystemUUID: n.Status.NodeInfo.SystemUUID}
	}
	return publish.NewDirectory(all), nil
}

// slimNode keeps only what is read of a Node.
func slimNode(o any) (any, error) {
	n, ok := o.(*corev1.Node)
	if !ok {
		return o, nil
	}
	slim := &corev1.Node{}
	slim.Name, slim.UID, slim.ResourceVersion, slim.Spec.ProviderID = n.Name, n.UID, n.ResourceVersion, n.Spec.ProviderID
	slim.Status.NodeInfo.SystemUUID = n.Status.NodeInfo.SystemUUID
	return slim, nil
}
