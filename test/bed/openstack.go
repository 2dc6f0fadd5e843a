package bed

import (
	"context"
	"fmt"
	"os"
	"sync"

	"multinicd/test/bed/openstack"
	"multinicd/test/bed/sandbox"
	"multinicd/test/bed/testhost"
)

// sharedOpenStack is the cloud of all tests of a package.
var sharedOpenStack struct {
	once  sync.Once
	box   *sandbox.Sandbox
	cloud *openstack.Cloud
	err   error
}

// OpenStack is a Keystone and a Neutron, on a host of their own. Where the package's TestMain is Main it is one for all tests of the package,
// which make tenants of their own there; else the test's own. It takes half a GB of memory.
func (b *Bed) OpenStack() *openstack.Cloud {
	b.t.Helper()
	if !shared.on {
		c, err := openstack.Start(context.WithoutCancel(b.t.Context()), b.box, b.World)
		if err != nil {
			b.t.Fatal(err)
		}
		b.hosts = append(b.hosts, c.Host)
		return c
	}
	s := &sharedOpenStack
	s.once.Do(func() { s.box, s.cloud, s.err = startOpenStack() })
	if s.err != nil {
		b.t.Fatal(s.err)
	}
	return s.cloud
}

// startOpenStack starts the cloud of a package, in a network of its own.
func startOpenStack() (*sandbox.Sandbox, *openstack.Cloud, error) {
	logf := func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
	box, err := sandbox.New(context.Background(), logf)
	if err != nil {
		return nil, nil, err
	}
	w, err := testhost.NewWorld(box, logf)
	if err != nil {
		return box, nil, err
	}
	c, err := openstack.Start(context.Background(), box, w)
	return box, c, err
}
