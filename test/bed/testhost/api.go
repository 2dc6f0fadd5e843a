package testhost

import (
	"fmt"
	"net"
	"net/netip"

	"multinicd/test/bed/proxy"
)

// APIPort is where hosts call the API server, at Gateway and at Behind.
const APIPort = 6443

// Service is the address of the API server's Service, by which Pods call it.
var Service = netip.MustParseAddrPort("10.96.0.1:443")

// ServeAPI forwards Gateway:APIPort to target, host:port on this machine, until the sandbox is closed.
func (w *World) ServeAPI(target string) (*proxy.API, error) {
	return w.serve(target, netip.AddrPortFrom(Gateway, APIPort))
}

// ServeAPIBehind forwards Behind:APIPort to target likewise: no subnet of a host leads there, only default routes do, of each segment whose router the
// switch is.
func (w *World) ServeAPIBehind(target string) (*proxy.API, error) {
	if err := w.AddAddress(managementSegment, netip.PrefixFrom(Behind, Behind.BitLen())); err != nil {
		return nil, err
	}
	return w.serve(target, netip.AddrPortFrom(Behind, APIPort))
}

// ServePods lets Pods call the API server by its Service. It is for a world whose hosts are nodes; see AddRoute.
func (w *World) ServePods(target string) (*proxy.API, error) {
	if err := w.AddAddress(managementSegment, netip.PrefixFrom(Service.Addr(), Service.Addr().BitLen())); err != nil {
		return nil, err
	}
	return w.serve(target, Service)
}

func (w *World) serve(target string, at netip.AddrPort) (*proxy.API, error) {
	var listener net.Listener
	err := w.Inside(func() (err error) {
		listener, err = net.Listen("tcp", at.String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listening for the API server: %w", err)
	}
	p := proxy.New(listener, target)
	w.box.OnClose(p.Close)
	return p, nil
}

// Addr is the address by which the host calls the API server.
func (h *Host) Addr() netip.Addr { return h.Address.Addr() }
