package node

import (
	"context"
	"time"
)

// uplink cuts the API client's connections, and ends its wait, once the kernel has another way to the API server: what waits on the old one waits in vain.
// Nothing else does so. On a node where routes come and go all the time (a routing daemon, Pods), each of them would cut off the handshake that the one
// before began, and the client would never get through.
type uplink struct {
	route     func(ctx context.Context) string // the ways there as they are now; "": there is none
	reached   func() bool                      // the API server answered when it was last asked
	reconnect func()
}

// uplinkLeast is the least time between two looks at the way, and so between two reconnects.
const uplinkLeast = time.Second

// follow looks at the way whenever something has changed, until ctx is done.
func (u uplink) follow(ctx context.Context, changed <-chan struct{}) {
	was := u.look(ctx)
	for {
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
		// A connection that stands is left alone, whatever its way: if it is dead, its pings show that.
		if now := u.look(ctx); now != was {
			was = now
			if now != "" && !u.reached() {
				u.reconnect()
			}
		}
		select { // what changes meanwhile is looked at then
		case <-time.After(uplinkLeast):
		case <-ctx.Done():
			return
		}
	}
}

// look bounds one look. The kernel answers at once; what it cannot say now is no way.
func (u uplink) look(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, uplinkLeast)
	defer cancel()
	return u.route(ctx)
}
