package web

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"
)

// Options say what is served, and where.
type Options struct {
	// Config is the way to the API server. Its rights are those of the page.
	Config *rest.Config
	// Selector chooses objects by their labels. nil means all.
	Selector labels.Selector
	// Port on 127.0.0.1. 0 means any that is free.
	Port int
	// Filters are those that the first address has.
	Filters url.Values
}

// ending is how long pages that are open get to hear that the server ends.
const ending = 2 * time.Second

// Serve serves the fleet on loopback until ctx ends, and then returns nil. It calls ready once, with
// the address to open. The address holds a secret that is made for this call alone.
func Serve(ctx context.Context, o Options, ready func(address string)) error {
	h, err := newHub(o.Config, o.Selector)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(o.Port)))
	if err != nil {
		return fmt.Errorf("listening on loopback: %w", err)
	}
	secret := rand.Text()
	ctx, cancel := context.WithCancel(ctx)
	defer h.rest() // after cancel: the watches end with ctx
	defer cancel()
	h.life = ctx
	server := &http.Server{
		Handler:           gate(secret, handler(h)),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	ready("http://" + listener.Addr().String() + "/" + secret + "/" + query(o.Filters))
	select {
	case err = <-failed:
		return fmt.Errorf("serving the fleet: %w", err)
	case <-ctx.Done():
	}
	// The streams say goodbye by themselves, since their context has ended.
	late, stop := context.WithTimeout(context.WithoutCancel(ctx), ending)
	defer stop()
	if err := server.Shutdown(late); err != nil {
		_ = server.Close() // a browser that does not read
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving the fleet: %w", err)
	}
	return nil
}

func query(filters url.Values) string {
	if len(filters) == 0 {
		return ""
	}
	return "?" + filters.Encode()
}
