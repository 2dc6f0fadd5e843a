package migrate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
)

// LeaseName is the Lease in v1.SystemNamespace that is held by whoever migrates. It also remembers
// that the migration is finished.
const LeaseName = "multinic-migrate"

// finishedAnnotation on the Lease says since when the migration is finished, as RFC 3339.
const finishedAnnotation = "multinic.io/migration-finished"

const (
	// holdFor is how long nobody else takes a Lease whose holder has gone silent.
	holdFor = 15 * time.Second
	// renewEvery leaves three tries before the Lease counts as lost.
	renewEvery = 3 * time.Second
	// lostAfter is when a holder that cannot renew stops: before anybody else begins.
	lostAfter = 10 * time.Second
)

// ErrHeld: somebody else migrates at the moment.
var ErrHeld = errors.New("somebody else is migrating")

// errLost ends what is done under a Lease that cannot be renewed.
var errLost = errors.New("the lock could not be renewed in time: nothing more was begun")

// lock is the Lease as we hold it.
type lock struct {
	c     client.Client
	me    string
	lease *coordinationv1.Lease
}

// Holder names this process: who, on which kernel and in which PID namespace. Whoever reads it in
// the same namespace can say whether the process is still there.
func Holder() string {
	host, _ := os.Hostname() // it is for people only
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	space, _ := os.Readlink("/proc/self/ns/pid")
	return fmt.Sprintf("%s/%s/%s/%d", cmp.Or(host, "unknown"), strings.TrimSpace(string(boot)), space, os.Getpid())
}

// gone says that a holder was a process beside this one, and has ended. It is false if that is not
// known.
func gone(holder string) bool {
	theirs, ours := strings.Split(holder, "/"), strings.Split(Holder(), "/")
	if len(theirs) != len(ours) || theirs[1] == "" || theirs[2] == "" || theirs[1] != ours[1] || theirs[2] != ours[2] {
		return false
	}
	pid, err := strconv.Atoi(theirs[3])
	return err == nil && pid > 0 && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

// holder is what a person is told of a holder.
func holder(name string) string {
	parts := strings.Split(name, "/")
	if len(parts) != 4 {
		return name
	}
	return fmt.Sprintf("process %s on %s", parts[3], parts[0])
}

// readLease reads the Lease; nil if there is none.
func readLease(ctx context.Context, c client.Reader) (*coordinationv1.Lease, error) {
	l := &coordinationv1.Lease{}
	err := c.Get(ctx, client.ObjectKey{Namespace: v1.SystemNamespace, Name: LeaseName}, l)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the lock: %w", err)
	}
	return l, nil
}

// take takes the lock. Whose holder has not renewed it for as long as we have looked, by our own
// clock, loses it. ErrHeld names the holder of one that is renewed.
func take(ctx context.Context, c client.Client, say func(string)) (*lock, error) {
	l := &lock{c: c, me: Holder()}
	var seen *coordinationv1.Lease
	var since time.Time
	for tries := 0; ; {
		var have *coordinationv1.Lease
		err := again(ctx, func() (err error) { have, err = readLease(ctx, c); return err })
		switch {
		case err != nil:
			return nil, err
		case have == nil:
			have = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: v1.SystemNamespace, Name: LeaseName}}
			err = l.write(have, func() error { return c.Create(ctx, have) })
		case free(have, l.me) || seen != nil && time.Since(since) >= holdFor:
			err = l.write(have, func() error { return c.Update(ctx, have) })
		case seen == nil:
			seen, since = have, time.Now()
			say(fmt.Sprintf("the lock is held by %s; waiting %s to see whether it is alive", holder(*have.Spec.HolderIdentity), holdFor))
		case have.ResourceVersion != seen.ResourceVersion:
			return nil, fmt.Errorf("%w: %s holds the Lease %s/%s", ErrHeld, holder(*have.Spec.HolderIdentity), v1.SystemNamespace, LeaseName)
		}
		if l.lease != nil {
			return l, nil
		}
		wait := time.Second
		if err != nil { // an API server in trouble, or somebody was faster
			if tries++; tries == tryAgain || apierrors.IsForbidden(err) {
				return nil, err
			}
			wait = time.Duration(tries) * 100 * time.Millisecond
		}
		if err := pause(ctx, wait); err != nil {
			return nil, err
		}
	}
}

func free(have *coordinationv1.Lease, me string) bool {
	h := have.Spec.HolderIdentity
	return h == nil || *h == "" || *h == me || gone(*h)
}

// write puts our name on a Lease.
func (l *lock) write(lease *coordinationv1.Lease, send func() error) error {
	now := metav1.NowMicro()
	lease.Spec.HolderIdentity, lease.Spec.RenewTime = &l.me, &now
	lease.Spec.LeaseDurationSeconds = new(int32(holdFor / time.Second))
	if l.lease == nil {
		lease.Spec.AcquireTime = &now
	}
	if err := send(); err != nil {
		return fmt.Errorf("writing the lock: %w", err)
	}
	l.lease = lease
	return nil
}

// hold renews the lock until do returns, and gives it back then. do is cancelled when the lock could
// not be renewed.
func (l *lock) hold(ctx context.Context, do func(context.Context) error) error {
	within, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		last := time.Now()
		for pause(within, renewEvery) == nil {
			call, stop := context.WithTimeout(within, renewEvery)
			err := l.renew(call)
			stop()
			switch {
			case err == nil:
				last = time.Now()
			case errors.Is(err, ErrHeld), time.Since(last) >= lostAfter:
				cancel(fmt.Errorf("%w: %w", errLost, err))
			}
		}
	}()
	err := do(within)
	cancel(nil)
	<-done
	if cause := context.Cause(within); errors.Is(cause, errLost) {
		err = errors.Join(err, cause)
	}
	call, stop := context.WithTimeout(context.WithoutCancel(ctx), renewEvery)
	defer stop()
	l.release(call)
	return err
}

func (l *lock) renew(ctx context.Context) error {
	have, err := readLease(ctx, l.c)
	if err != nil {
		return err
	}
	if have == nil || have.Spec.HolderIdentity == nil || *have.Spec.HolderIdentity != l.me {
		return fmt.Errorf("%w: somebody else has taken the Lease", ErrHeld)
	}
	return l.write(have, func() error { return l.c.Update(ctx, have) })
}

// release gives the lock back, if it is still ours. Who cannot do so leaves it to its end.
func (l *lock) release(ctx context.Context) {
	for range tryAgain {
		have, err := readLease(ctx, l.c)
		if err == nil && (have == nil || have.Spec.HolderIdentity == nil || *have.Spec.HolderIdentity != l.me) {
			return
		}
		if err == nil {
			have.Spec.HolderIdentity = nil
			err = l.c.Update(ctx, have)
		}
		if err == nil || pause(ctx, 200*time.Millisecond) != nil {
			return
		}
	}
}

// pause waits; the error is the end of ctx.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
