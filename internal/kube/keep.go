package kube

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"time"

	v1 "multinicd/api/v1"
	"multinicd/internal/kube/credential"
)

// Keeping says by which means Keep may keep the credential good.
type Keeping struct {
	// Store writes the credential folder. nil means that somebody else renews the credential.
	Store Store
	// Kubelet is the kubeconfig by which the node may join again. If it is "", or the file is not
	// there, the node cannot.
	Kubelet string
	// Notify is called for each change, from one goroutine.
	Notify func(Kept)
}

// Kept says how the credential is.
type Kept struct {
	Door v1.Door   // empty: the node did not join by a NodeTokenRequest
	Ends time.Time // by the API server's clock; zero: not known, or never
	// When the renewal is due, by the host's clock. Zero: not known, or somebody else renews.
	Renewal time.Time
	Refused string // why the API server no longer takes the token, and what to do; empty: it does
	Trouble string // why a renewal that was due failed; empty: none did
	Behind  bool   // the host's clock is behind the API server's by two minutes or more
	Ahead   bool   // the host's clock is ahead of it by as much
	Clock   bool   // the API server's clock is known: Behind and Ahead count
	Moved   bool   // the stored credential is for another server: this client is of no more use
}

// Keep keeps the token of the credential folder good until ctx ends, and returns why it ended. It
// renews the token at 70 to 90 % of its life. If the API server no longer takes the token, Keep
// joins again.
//
// A token's age is the greater of two spans. The first is how long we have held it, on the
// monotonic clock. The second is how far the API server's clock has come since the token was
// issued, by the server's last answer. The second one counts for a token that was found on the
// disk. It also counts after a pause of the virtual machine (a migration, a snapshot, `openstack
// server pause`), because the monotonic clock stood still meanwhile. Keep never uses the host's
// wall clock.
func (c *Client) Keep(ctx context.Context, o Keeping) error {
	k := &keeper{c: c, o: o, renewals: backoff{jitter: c.jitter}, joins: backoff{jitter: c.jitter}}
	for ctx.Err() == nil {
		wait := min(k.step(ctx), look)
		if ctx.Err() != nil {
			break
		}
		timer := time.NewTimer(max(wait, time.Second))
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-c.news:
		}
		timer.Stop()
	}
	return context.Cause(ctx)
}

const (
	// look is the time between two looks at the folder.
	look = 30 * time.Second
	// doubt is how long a token must be refused before we act on it. An API server that has just
	// started refuses the tokens of accounts that it does not know yet.
	doubt = 10 * time.Second
	// rejoinPatience bounds one attempt to join again. The wait between two attempts is from
	// rejoinLeast to rejoinMost. The first attempt comes within spread.
	rejoinPatience = 2 * time.Minute
	rejoinLeast    = 10 * time.Second
	rejoinMost     = 10 * time.Minute
	spread         = 20 * time.Second
	// proved is how long a token must have been good until the next attempt to join counts as a
	// first one again.
	proved = time.Hour
	// renewLeast is the shortest time between two renewals, whatever dates come with the server's
	// answers.
	renewLeast = time.Minute
)

// keeper is what Keep knows.
type keeper struct {
	c *Client
	o Keeping

	held  credential.Token
	life  credential.Life
	since time.Time // when the token began, by our monotonic clock; zero: not known yet
	// When the token began, by the clock that the server's answers show. Zero: not known.
	issued time.Time
	share  float64 // the share of its life after which it is renewed

	renewals backoff
	renewAt  time.Time // not before
	unsaved  bool      // the token in use is not on the disk

	doubted   time.Time // since when the token is refused
	confirmed bool      // by a request of ours
	joins     backoff
	joinAt    time.Time // not before
	joined    time.Time // when we last did

	now  Kept
	told bool
}

// step does what is due, and says when there may be more to do.
func (k *keeper) step(ctx context.Context) time.Duration {
	c := k.c
	before := k.now
	if t, err := c.credential.Token.Read(); err == nil && !t.IsZero() && !t.Is(k.held) {
		k.hold(t, time.Time{})
	}
	k.date()
	wait := look
	if c.refuses(k.held) {
		wait = k.refused(ctx)
	} else {
		k.doubted, k.confirmed, k.now.Refused = time.Time{}, false, ""
		if k.o.Store != nil && c.folder() != "" {
			wait = k.renew(ctx)
		}
	}
	k.describe()
	if k.o.Notify != nil && (!k.told || k.now != before) && ctx.Err() == nil {
		k.told = true
		k.o.Notify(k.now)
	}
	return wait
}

// hold makes t the present token. since is zero if the age of t is not known.
func (k *keeper) hold(t credential.Token, since time.Time) {
	k.held, k.life, k.since = t, credential.LifeOf(t), since
	k.issued = k.life.Issued
	k.share = 0.7 + 0.2*k.c.jitter()
	k.renewals, k.renewAt, k.now.Trouble = backoff{jitter: k.c.jitter}, time.Time{}, ""
	if since.IsZero() {
		return
	}
	now := k.c.now()
	k.renewAt = now.Add(renewLeast)
	if k.life.Span == 0 {
		k.life.Span = v1.TokenLife // we asked for this life
	}
	// The clock that the answers show need not be the clock of the server that issued the token: a
	// proxy may write the Date. What counts is how far that clock comes from here on.
	if server, ok := k.c.serverTime(); ok {
		if at := server.Add(-now.Sub(since)); at.After(k.issued) {
			k.issued = at
		}
	}
}

// date finds out when a token from the disk began. It also corrects that time after the host has
// stood still.
func (k *keeper) date() {
	if k.life.Span == 0 {
		return
	}
	now := k.c.now()
	server, ok := k.c.serverTime()
	switch {
	case ok && !k.issued.IsZero():
		if began := now.Add(-max(0, server.Sub(k.issued))); k.since.IsZero() || began.Before(k.since) {
			k.since = began
		}
	case k.since.IsZero() && k.c.reached():
		// something on the way removes the Date from answers: too early is better than too late
		k.since = now.Add(-k.life.Span)
	}
}

// renew asks for another token when it is time.
func (k *keeper) renew(ctx context.Context) time.Duration {
	if k.unsaved {
		k.save(ctx)
	}
	now := k.c.now()
	if k.since.IsZero() {
		// the token does not end, or we wait for the server's first answer, which wakes us
		return look
	}
	due := k.due()
	if due.Before(k.renewAt) {
		due = k.renewAt
	}
	if wait := due.Sub(now); wait > 0 {
		return wait
	}
	if err := k.replace(ctx); err != nil {
		if ctx.Err() == nil && k.now.Trouble == "" {
			k.c.log.Warn("the token cannot be renewed; trying again", "node", k.c.opts.Node, "err", err)
		}
		k.now.Trouble = err.Error()
		wait := k.renewals.next(err)
		k.renewAt = now.Add(wait)
		return wait
	}
	return look
}

// due is when the token is to be renewed. since must be known.
func (k *keeper) due() time.Time {
	return k.since.Add(time.Duration(float64(k.life.Span) * k.share))
}

// replace gets another token and stores it. Nobody else may change the credential meanwhile. If
// another process is changing it, a new token may not be needed.
func (k *keeper) replace(ctx context.Context) error {
	release, err := k.o.Store.Lock(ctx)
	if err != nil {
		return err
	}
	defer release()
	if t, err := k.c.credential.Token.Read(); err == nil && !t.Is(k.held) {
		return nil // the next step looks at the token
	}
	begun := k.c.now() // the new token lives from before its answer came
	t, err := k.c.renewed(ctx, k.life.NodeBound)
	if err != nil {
		return err
	}
	trouble := k.now.Trouble
	k.c.credential.Token.Give(t)
	k.hold(t, begun)
	k.write(t)
	if trouble != "" {
		k.c.log.Info("the token was renewed", "node", k.c.opts.Node)
	}
	return nil
}

// save stores a token that could not be stored when it came.
func (k *keeper) save(ctx context.Context) {
	release, err := k.o.Store.Lock(ctx)
	if err != nil {
		return
	}
	defer release()
	if t, err := k.c.credential.Token.Read(); err != nil || !t.Is(k.held) {
		k.unsaved = false
		return
	}
	k.write(k.held)
}

// write stores the token. If the disk takes no writes, the token still counts until the process
// ends.
func (k *keeper) write(t credential.Token) {
	err := k.o.Store.Write(credential.FileToken, []byte(t.Reveal()+"\n"))
	if err != nil {
		if !k.unsaved {
			k.c.log.Error("the token cannot be stored; it is used all the same, until the next start", "node", k.c.opts.Node, "err", err)
		}
		k.unsaved, k.now.Trouble = true, err.Error()
		return
	}
	k.unsaved, k.now.Trouble = false, ""
}

// refused finds out whether the token really is refused. If so, and if the node can, it joins
// again.
func (k *keeper) refused(ctx context.Context) time.Duration {
	c, now := k.c, k.c.now()
	if k.doubted.IsZero() {
		k.doubted = now
	}
	if rest := doubt - now.Sub(k.doubted); rest > 0 {
		return rest
	}
	if !k.confirmed {
		if o := c.Get(ctx); ClassOf(o.Err) != Unauthorized {
			return doubt // the token was taken, or nothing is known
		}
		k.confirmed = true
		// If all tokens of a fleet are refused at once, the nodes must not all ask at once.
		if first := now.Add(time.Duration(c.jitter() * float64(spread))); k.joinAt.Before(first) {
			k.joinAt = first
		}
	}
	why := k.why()
	if k.o.Store == nil || c.folder() == "" {
		k.refuse(why + ": multinicd.toml names this credential under [api], and who renews it has to; the NICs stay as they are")
		return look
	}
	if !k.mayRejoin() {
		k.refuse(why + ": join again, with multinicd join and a token of `multinic-bridge token create --replace --node " + c.opts.Node + "`; the NICs stay as they are")
		return look
	}
	if rest := k.joinAt.Sub(c.now()); rest > 0 {
		return rest
	}
	if !k.joined.IsZero() && now.Sub(k.joined) >= proved {
		k.joins = backoff{jitter: c.jitter}
	}
	joined, err := k.rejoin(ctx)
	if err == nil {
		if joined {
			c.log.Info("joined again through the kubelet's door", "node", c.opts.Node)
		}
		return time.Second
	}
	if ctx.Err() == nil {
		k.refuse(why + "; joining again through the kubelet's door is tried, and fails: " + err.Error())
	}
	return k.joinAt.Sub(now)
}

// refuse notes that somebody must help the node, and logs it once.
func (k *keeper) refuse(why string) {
	if k.now.Refused == "" {
		k.c.log.Warn("the API server takes the node's token no more; the last known good configuration is kept", "node", k.c.opts.Node, "reason", v1.ReasonJoinNeeded, "err", why)
	}
	k.now.Refused = why
}

// why says what can be said about a refusal. It goes by the API server's clock, not by ours.
func (k *keeper) why() string {
	server, ok := k.c.serverTime()
	ends := k.life.Ends()
	switch {
	case !ok || ends.IsZero():
		return "the API server takes the node's token no more"
	case server.Before(ends):
		return "the API server takes the node's token no more, before its end: it was revoked, or the Node or the ServiceAccount was deleted"
	}
	return "the node's token has ended at " + ends.UTC().Format(time.RFC3339)
}

func (k *keeper) mayRejoin() bool {
	if k.o.Kubelet == "" {
		return false
	}
	info, err := os.Stat(k.o.Kubelet)
	return err == nil && info.Mode()&fs.ModeType == 0
}

// rejoin joins once, by the kubelet's identity. After a failure, or when the new token is refused
// too, the next attempt waits longer each time. So a node that may not be here does not ask for
// ever. false without an error means that somebody has stored another token meanwhile, by
// `multinicd join`; the next step looks at it.
func (k *keeper) rejoin(ctx context.Context) (joined bool, err error) {
	most := min(rejoinMost, rejoinLeast<<min(k.joins.failures, 10))
	k.joins.failures++
	defer func() {
		k.joinAt = k.c.now().Add(time.Duration(float64(most) * (0.5 + k.c.jitter())))
	}()
	ctx, cancel := context.WithTimeoutCause(ctx, rejoinPatience, fmt.Errorf("no answer within %s", rejoinPatience))
	defer cancel()
	release, err := k.o.Store.Lock(ctx)
	if err != nil {
		return false, err
	}
	defer release()
	if t, err := k.c.credential.Token.Read(); err == nil && !t.Is(k.held) {
		return false, nil
	}
	j := Joining{Kubeconfig: k.o.Kubelet, Credential: k.c.folder(), Store: k.o.Store}
	got, err := join(ctx, k.c.opts, j, k.c.connect)
	if err != nil {
		return false, err
	}
	if err := got.store(j); err != nil {
		return false, err
	}
	k.joined = k.c.now()
	k.hold(got.token, k.joined)
	k.unsaved = false
	k.c.poke()
	return true, nil
}

// describe puts together what Notify is told.
func (k *keeper) describe() {
	c := k.c
	k.now.Door, k.now.Ends, k.now.Moved = c.door(), k.life.Ends(), c.moved()
	due := time.Time{}
	if !k.since.IsZero() && k.o.Store != nil && c.folder() != "" {
		now := c.now()
		// by the host's wall clock as it is now: this is for people
		due = now.Round(0).Add(k.due().Sub(now))
	}
	// Renewal is to the second. It moves only when it is off by more than a minute.
	if k.now.Renewal.IsZero() != due.IsZero() || k.now.Renewal.Sub(due).Abs() > time.Minute {
		k.now.Renewal = due.Truncate(time.Second)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	k.now.Clock, k.now.Behind, k.now.Ahead = !c.server.date.IsZero(), c.skew > 0, c.skew < 0
}
