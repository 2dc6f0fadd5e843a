package legacy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "multinicd/api/v1"
	"multinicd/internal/legacy/migrate"
	"multinicd/internal/publish"
	"multinicd/test/bed"
	"multinicd/test/bed/prerequisite"
)

// migrator is a person with the rights of the chart to migrate, and no others.
const migrator = "migrator"

func (c *cluster) permit() {
	c.t.Helper()
	who := []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: migrator}}
	ref := func(kind string) rbacv1.RoleRef {
		return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: "multinic-migration"}
	}
	for _, o := range []client.Object{
		&rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: migrator}, Subjects: who, RoleRef: ref("ClusterRole")},
		&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: migrator, Namespace: v1.SystemNamespace}, Subjects: who, RoleRef: ref("Role")},
	} {
		if err := c.admin.Create(c.t.Context(), o); !apierrors.IsAlreadyExists(err) {
			c.must(err)
		}
	}
	bed.Eventually(c.t, "what the migrator may do", "yes", func() string {
		out, _ := c.Kubectl(c.t.Context(), "auth", "can-i", "patch", "mnnc", "-n", v1.SystemNamespace, "--as", migrator)
		return strings.TrimSpace(out)
	})
}

// command is one of `multinic-bridge migrate`, as the migrator.
type command struct {
	c          *cluster
	kubeconfig string
	binary     string
}

func (c *cluster) command() command {
	c.t.Helper()
	c.permit()
	path := filepath.Join(c.t.TempDir(), "kubeconfig")
	c.must(c.WriteKubeconfig(path, "", migrator))
	return command{c, path, bed.Build(c.t, "./cmd/bridge")}
}

// run gives what the command printed, both streams, and how it ended.
func (m command) run(args ...string) (string, int) {
	m.c.t.Helper()
	return m.raw(append(args, "--kubeconfig", m.kubeconfig)...)
}

// says runs a command, which must end so, and print each of the words.
func (m command) says(line string, code int, words ...string) string {
	m.c.t.Helper()
	out, got := m.run(strings.Fields(line)...)
	if got != code {
		m.c.t.Errorf("migrate %s ended with %d, want %d", line, got, code)
	}
	for _, w := range words {
		if !strings.Contains(out, w) {
			m.c.t.Errorf("migrate %s does not say %q", line, w)
		}
	}
	if m.c.t.Failed() {
		m.c.t.Fatalf("migrate %s said:\n%s", line, out)
	}
	return out
}

// The whole way, beside the publisher of the older object: nobody's NICs change, what is in the way is named, and the rest is done.
func TestTheMigrationFromTheFirstLookToItsEnd(t *testing.T) {
	c := newCluster(t, 9)
	long := strings.Repeat("a", 62) + "." + strings.Repeat("b", 63)
	c.must(c.admin.Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: long}, Spec: corev1.NodeSpec{ProviderID: "openstack:///i-100"}}))
	named := v1.BizNodeConfig{AttachedNodeID: "i-100", AttachedNodeName: long, Interfaces: []v1.BizInterface{nic(0xa01)}}
	m := c.command()
	p := c.publisher()
	c.theirs(4, "multinic-openstack", 0x401)
	c.write(entry(1, 0x101), entry(2, 0x201, 0x202), entry(3, 0x301), entry(4, 0x402), named)
	done := []string{long + " multinic-legacy g1 multinic0=0a01", "worker-1 multinic-legacy g1 multinic0=0101", "worker-2 multinic-legacy g1 multinic0=0201 multinic1=0202",
		"worker-3 multinic-legacy g1 multinic0=0301", "worker-4 multinic-openstack g1 multinic7=0401"}
	c.are(done...)
	c.report(1, 2, 3, 4)
	c.state(3, v1.StateConfigured, metav1.ConditionUnknown, v1.ReasonNodeSilent) // it is down
	c.nameIs(long)
	// Now the older object gets entries that lead to nothing.
	c.write(entry(1, 0x101), entry(2, 0x201, 0x202), entry(3, 0x301), entry(4, 0x402), named,
		entry(99, 0x901), entry(5, 0x501), entry(5, 0x502), entry(6, 0x601), entry(7, 0x601), entry(8, 0x801))
	c.are(append(append([]string(nil), done...), "worker-8 multinic-legacy g1 multinic0=0801")...)
	c.report(8)

	m.says("plan", 0, "worker-8", "unchanged", "NodeUnknown", "NamedTwice", "MACTwice", "unchanged, 6 refused")
	if out := m.says("plan -o json", 0, `"becomes": "unchanged"`); !strings.HasPrefix(out, "{") {
		t.Errorf("it is no JSON: %.200s", out)
	}
	dir := filepath.Join(t.TempDir(), "export")
	m.says("export -d "+dir, 0, "8 files written, 0 were there already")
	m.says("export -d "+dir, 0, "0 files written, 8 were there already")
	m.says("import -d "+dir, 0, "6 same")
	m.says("verify", 1, "worker-3", "Ready is Unknown: NodeSilent", "NamedTwice", "nodes are as they shall be")

	all := c.objects()
	m.says("run --to multinic-legacy", 2, "the older object itself")
	m.says("run --to viola --dry-run", 0, "worker-1", "hand over", "skipped", "NodeUnknown", "NamedTwice", "MACTwice", "kept")
	if now := c.objects(); now != all {
		t.Errorf("a dry run has changed\n%s\nto\n%s", all, now)
	}
	left := []string{"left: production[5]: NodeUnknown", "left: worker-5: NamedTwice", "left: worker-6: MACTwice", "left: worker-7: MACTwice", "5 handed over, 1 kept, 5 skipped"}
	m.says("run --to viola", 1, append(left, "worker-1: handed over")...)
	moved := strings.ReplaceAll(all, "multinic-legacy", "viola")
	if now := c.objects(); now != moved {
		t.Errorf("the objects are\n%s\nwant\n%s", now, moved)
	}
	m.says("run --to viola", 1, "5 done")
	c.says("InProgress 6/11; worker-1 Configured NotOurs; worker-2 Configured NotOurs; worker-3 Configured NotOurs; worker-4 Configured NotOurs; " + long + " Configured NotOurs; " +
		"worker-99 Pending NodeUnknown; worker-5 Failed NamedTwice; worker-5 Failed NamedTwice; worker-6 Failed MACTwice; worker-7 Failed MACTwice; worker-8 Configured NotOurs")

	// Back, and nobody notices; and once more.
	m.says("finish", 1, "the older object can still be changed", "the entry has no object of a node")
	m.says("rollback --dry-run", 0, "5 give back")
	m.says("rollback", 0, "give back")
	c.settled()
	if now := c.objects(); now != all {
		t.Errorf("after the rollback the objects are\n%s\nwant\n%s", now, all)
	}
	m.says("rollback", 0, "there is nothing to do")
	m.says("run --to viola", 1, left...)
	if now := c.objects(); now != moved {
		t.Errorf("the objects are\n%s\nwant\n%s", now, moved)
	}

	// The new owner writes, as any client of the API server does, and the older object no more.
	o := c.object(2)
	o.Spec.Interfaces[0].MTU = new(int32(1400))
	c.must(c.admin.Update(t.Context(), o, client.FieldOwner("viola")))
	p.Stop()
	c.readOnly()
	m.says("finish", 1, "production[5]: the entry has no object of a node (NodeUnknown", "NamedTwice")
	m.says("finish --leave-out --dry-run", 0, "finish would end the migration")
	m.says("finish --leave-out", 0, "the migration is finished")
	m.says("finish --leave-out", 0, "the migration is finished")
	m.says("rollback", 1, "the migration is finished since")
	m.says("run --to viola", 1, "the migration is finished since")
	if o := c.object(1); o.Annotations[v1.MigratedAnnotation] != "" {
		t.Errorf("the mark is still there: %v", o.Annotations)
	}
	// An object that is lost comes back from the files; one that is another by now stays.
	c.must(c.admin.Delete(t.Context(), c.object(1)))
	m.says("import -d "+dir, 1, "left: worker-2: Differs", "1 make", "worker-3: Differs")
	if got := c.object(1); got.Spec.Interfaces[0].PortID != "port-257" {
		t.Errorf("%+v", got.Spec)
	}
	if got := c.object(2); *got.Spec.Interfaces[0].MTU != 1400 {
		t.Errorf("the import has changed %+v", got.Spec.Interfaces[0])
	}
}

// A node that is down gets its object, is named, and holds nobody up. One that fails, or never says a word, counts against the bounds.
func TestANodeThatIsDownHoldsNobodyUp(t *testing.T) {
	c := newCluster(t, 4)
	m := c.command()
	p := c.publisher()
	c.write(entry(1, 0x101), entry(2, 0x201))
	c.are("worker-1 multinic-legacy g1 multinic0=0101", "worker-2 multinic-legacy g1 multinic0=0201")
	p.Stop()
	c.state(1, v1.StateConfigured, metav1.ConditionUnknown, v1.ReasonNodeSilent)
	c.write(entry(1, 0x102), entry(2, 0x201))
	begun := time.Now()
	m.says("run --to viola --max 1", 1, "worker-1: written", "left: worker-1: NodeSilent: the node is down", "2 handed over")
	if took := time.Since(begun); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
	c.are("worker-1 viola g2 multinic1=0102", "worker-2 viola g1 multinic0=0201")
	m.says("run --to viola", 0, "2 done")

	// Nobody configures these two: after the first nothing more is begun, and the next call goes on with the other one.
	c.write(entry(3, 0x301), entry(4, 0x401))
	out := m.says("run --to viola --max 1 --stop-after 1 --patience 1s", 1, "NotSettled: the node has not settled within 1s", "stopped: 1 nodes failed")
	if !strings.Contains(out, "worker-3: written") || strings.Contains(out, "worker-4: written") {
		t.Errorf("it went on after a node had failed:\n%s", out)
	}
	c.are("worker-1 viola g2 multinic1=0102", "worker-2 viola g1 multinic0=0201", "worker-3 viola g1 multinic0=0301")
	m.says("run --to viola --patience 1s", 1, "worker-4: written", "left: worker-4: NotSettled")
	m.says("run --to viola", 0, "4 done")
}

// report says as the bridge that nodes have what their objects say.
func (c *cluster) report(nodes ...int) {
	c.t.Helper()
	for _, n := range nodes {
		c.nameIs(fmt.Sprintf("worker-%d", n))
	}
}

// nameIs is report for a node by its name. It says whether the node had something to do.
func (c *cluster) nameIs(name string) bool {
	c.t.Helper()
	o := &v1.MultiNicNodeConfig{}
	c.must(c.admin.Get(c.t.Context(), client.ObjectKey{Namespace: v1.SystemNamespace, Name: name}, o))
	return c.plays(o)
}

func (c *cluster) plays(o *v1.MultiNicNodeConfig) bool {
	if o.Status.ObservedGeneration == o.Generation {
		return false
	}
	before := o.DeepCopy()
	o.Status.ObservedGeneration, o.Status.State = o.Generation, v1.StateConfigured
	o.Status.Conditions = []metav1.Condition{{Type: v1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1.ReasonAllInterfacesConfigured, LastTransitionTime: metav1.Now(), ObservedGeneration: o.Generation}}
	o.Status.InterfaceStatuses = nil
	normals, _ := o.Validate()
	for _, n := range normals {
		o.Status.InterfaceStatuses = append(o.Status.InterfaceStatuses, v1.InterfaceStatus{ID: n.ID, Name: n.Name, MACAddress: n.MACAddress, Status: v1.StateConfigured, Address: n.Addresses[0].String(), MTU: int32(n.MTU)})
	}
	if err := c.bridge.Status().Patch(context.WithoutCancel(c.t.Context()), o, client.MergeFrom(before)); err != nil && !apierrors.IsNotFound(err) {
		c.t.Error(err)
	}
	return true
}

// fleet plays all nodes until the test ends: whoever gets a new object has it at once, and whoever has one now before fleet returns.
func (c *cluster) fleet() {
	ctx, cancel := context.WithCancel(context.WithoutCancel(c.t.Context()))
	ended := make(chan struct{})
	all := func() error {
		var list v1.MultiNicNodeConfigList
		err := c.admin.List(ctx, &list, client.InNamespace(v1.SystemNamespace))
		for i := range list.Items {
			c.plays(&list.Items[i])
		}
		return err
	}
	c.must(all())
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			_ = all()                         // the next time, if not now
			time.Sleep(50 * time.Millisecond) // a node takes its time, too
		}
	}()
	c.t.Cleanup(func() { cancel(); <-ended })
}

// between stands between a command and the API server.
type between struct {
	kubeconfig string
	serve      atomic.Pointer[func(server http.Handler, w http.ResponseWriter, r *http.Request)]
	writes     atomic.Int64
}

func (c *cluster) between() *between {
	c.t.Helper()
	target, err := url.Parse(c.URL)
	c.must(err)
	as := c.Config()
	as.Impersonate = rest.ImpersonationConfig{UserName: migrator}
	way, err := rest.TransportFor(as)
	c.must(err)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, Transport: way,
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }}
	b := &between{kubeconfig: filepath.Join(c.t.TempDir(), "kubeconfig")}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			b.writes.Add(1)
		}
		if f := b.serve.Load(); f != nil {
			(*f)(proxy, w, r)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	server.Config.ErrorLog = nil
	c.t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	c.must(os.WriteFile(b.kubeconfig, fmt.Appendf(nil, "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: %q}}]\nusers: [{name: u, user: {}}]\n"+
		"contexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n", server.URL), 0o600))
	return b
}

// unmigrated is an older object of which one node has nothing yet, one has an older state, one has all, and one is not there.
func unmigrated(t *testing.T) (*cluster, string) {
	t.Helper()
	c := newCluster(t, 3)
	p := c.publisher()
	c.write(entry(2, 0x201), entry(3, 0x301))
	c.are("worker-2 multinic-legacy g1 multinic0=0201", "worker-3 multinic-legacy g1 multinic0=0301")
	p.Stop()
	c.write(entry(1, 0x101), entry(2, 0x201, 0x202), entry(3, 0x301))
	return c, "worker-1 viola g1 multinic0=0101\nworker-2 viola g2 multinic0=0201 multinic1=0202\nworker-3 viola g1 multinic0=0301"
}

// Run is killed before and after each of its writes, and begun anew: the end is the same. So it is with the way back.
func TestAMigrationThatIsKilledGoesOn(t *testing.T) {
	steps := 1
	t.Run("whole", func(t *testing.T) {
		c, want := unmigrated(t)
		c.fleet()
		m, b := c.command(), c.between()
		m.kubeconfig = b.kubeconfig
		m.says("run --to viola --max 100%", 0, "3 handed over")
		if got := c.objects(); got != want {
			t.Errorf("the objects are\n%s\nwant\n%s", got, want)
		}
		steps = int(b.writes.Load())
	})
	var at []int
	for k := range steps {
		at = append(at, k+1)
	}
	if len(prerequisite.Long(1)) == 0 {
		at = []int{1, steps / 2, steps} // and all of them with the long ones
	}
	t.Logf("%d writes, killed at %v", steps, at)
	for _, k := range at {
		for _, when := range []string{"before", "after"} {
			t.Run(fmt.Sprintf("%s write %d", when, k), func(t *testing.T) {
				c, want := unmigrated(t)
				c.fleet()
				m, b := c.command(), c.between()
				m.kubeconfig = b.kubeconfig
				if !m.killed(b, k, when == "after", "run", "--to", "viola", "--max", "100%") {
					t.Log("it had ended before")
				}
				m.says("run --to viola --max 100%", 0)
				if got := c.objects(); got != want {
					t.Errorf("the objects are\n%s\nwant\n%s", got, want)
				}
				m.killed(b, min(k, 4), when == "after", "rollback")
				m.says("rollback", 0)
				if got := c.objects(); got != strings.ReplaceAll(want, "viola", "multinic-legacy") {
					t.Errorf("after the rollback the objects are\n%s", got)
				}
			})
		}
	}
}

// killed runs a command that is killed at its write k, before the API server has it or after it is done. It says whether that came.
func (m command) killed(b *between, k int, after bool, args ...string) bool {
	t := m.c.t
	t.Helper()
	cmd := exec.Command(m.binary, append(append([]string{"migrate"}, args...), "--kubeconfig", b.kubeconfig)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	var once sync.Once
	var n atomic.Int64
	var was atomic.Bool
	serve := func(server http.Handler, w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet || n.Add(1) < int64(k) {
			server.ServeHTTP(w, r)
			return
		}
		if after && n.Load() == int64(k) {
			server.ServeHTTP(httptest.NewRecorder(), r)
		}
		once.Do(func() { was.Store(true); _ = cmd.Process.Kill() })
		panic(http.ErrAbortHandler)
	}
	b.serve.Store(&serve)
	defer b.serve.Store(nil)
	m.c.must(cmd.Start())
	err := cmd.Wait()
	if !was.Load() && err != nil {
		t.Errorf("migrate %v: %v\n%s", args, err, out.String())
	}
	return was.Load()
}

// What the API server does to the migration delays it, and neither loses nor turns anything. Of four requests one fails: that eight tries of one
// request all fail does not happen.
func TestAMigrationSurvivesAnAPIServerInTrouble(t *testing.T) {
	c, want := unmigrated(t)
	c.fleet()
	m, b := c.command(), c.between()
	m.kubeconfig = b.kubeconfig
	var n atomic.Int64
	faults := map[string]int{}
	var mu sync.Mutex
	serve := func(server http.Handler, w http.ResponseWriter, r *http.Request) {
		status := func(code int, reason string) {
			mu.Lock()
			faults[reason]++
			mu.Unlock()
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(code)
			fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"message":"made by the test","code":%d}`, reason, code)
		}
		if !strings.Contains(r.URL.Path, "/namespaces/") && !strings.HasSuffix(r.URL.Path, "/nodes") { // what there is at all
			server.ServeHTTP(w, r)
			return
		}
		n.Add(1)
		switch rand.N(12) {
		case 0:
			status(http.StatusInternalServerError, "InternalError")
		case 1:
			if r.Method == http.MethodGet {
				status(http.StatusServiceUnavailable, "ServiceUnavailable")
				return
			}
			status(http.StatusConflict, "Conflict")
		case 2: // it is done, and the answer is lost
			mu.Lock()
			faults["lost"]++
			mu.Unlock()
			server.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		default:
			server.ServeHTTP(w, r)
		}
	}
	b.serve.Store(&serve)
	m.says("run --to viola --max 100%", 0)
	if got := c.objects(); got != want {
		t.Errorf("the objects are\n%s\nwant\n%s", got, want)
	}
	m.says("rollback", 0)
	if got := c.objects(); got != strings.ReplaceAll(want, "viola", "multinic-legacy") {
		t.Errorf("after the rollback the objects are\n%s", got)
	}
	t.Logf("%d requests, faults %v", n.Load(), faults)
	if len(faults) < 2 {
		t.Errorf("hardly a fault came: %v", faults)
	}
}

// Two persons do not migrate at once. Who died at it keeps nobody out for long.
func TestTwoPersonsDoNotMigrateAtOnce(t *testing.T) {
	c := newCluster(t, 1)
	m := c.command()
	c.write(entry(1, 0x101))
	now := metav1.NowMicro()
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: migrate.LeaseName, Namespace: v1.SystemNamespace},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: new("another/boot/pid:[1]/7"), RenewTime: &now, LeaseDurationSeconds: new(int32(15))}}
	c.must(c.admin.Create(t.Context(), lease))
	ctx, cancel := context.WithCancel(t.Context())
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		for ctx.Err() == nil {
			now := metav1.NowMicro()
			lease.Spec.RenewTime = &now
			if err := c.admin.Update(ctx, lease); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			time.Sleep(500 * time.Millisecond) // as whoever holds a Lease
		}
	}()
	for _, line := range []string{"run --to viola", "rollback", "finish"} {
		m.says(line, 1, "somebody else is migrating: process 7 on another holds the Lease multinic-system/multinic-migrate")
	}
	cancel()
	<-renewed
	if got := c.objects(); got != "" {
		t.Errorf("they have made %s", got)
	}
	for range prerequisite.Long(1) {
		m.says("run --to viola --patience 1s", 1, "the lock is held by process 7 on another; waiting 15s", "NotSettled")
		if got := c.objects(); got != "worker-1 viola g1 multinic0=0101" {
			t.Errorf("after 15 s: %s", got)
		}
	}
}

// A wrong command line ends with 2, a cluster that cannot be asked with 1, and each says what is wrong.
func TestTheMigrationSaysWhatIsWrong(t *testing.T) {
	c := newCluster(t, 1)
	m := c.command()
	nobody := filepath.Join(t.TempDir(), "nobody")
	c.must(c.WriteKubeconfig(nobody, "", "nobody"))
	away := filepath.Join(t.TempDir(), "away")
	c.must(c.WriteKubeconfig(away, "https://127.0.0.1:1", migrator))
	missing := filepath.Join(t.TempDir(), "missing")
	for line, want := range map[string]string{
		"plan --kubeconfig " + nobody:                    "forbidden",
		"verify --kubeconfig " + away:                    "connection refused",
		"export -d " + missing + " --kubeconfig " + away: "connection refused",
		"import -d " + missing:                           missing + "/index.yaml: no such file or directory",
		"export -d /proc/self/nothing":                   "making the folder",
		"run --to viola --kubeconfig " + nobody:          "forbidden",
		"rollback --kubeconfig " + missing:               "reading kubeconfig",
	} {
		args := strings.Fields(line)
		if !strings.Contains(line, "--kubeconfig") {
			args = append(args, "--kubeconfig", m.kubeconfig)
		}
		out, code := m.raw(args...)
		if code != 1 || !strings.Contains(out, want) {
			t.Errorf("migrate %s ended with %d, want 1 and %q:\n%s", line, code, want, out)
		}
	}
}

// raw is run without the migrator's kubeconfig.
func (m command) raw(args ...string) (string, int) {
	m.c.t.Helper()
	cmd := exec.CommandContext(m.c.t.Context(), m.binary, append([]string{"migrate"}, args...)...)
	out, err := cmd.CombinedOutput()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		m.c.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// A publisher of this tree takes an object by itself, once it was handed over. Until then it can be taken back, and afterwards given back.
func TestObjectsGoToAPublisherOfOursAndBack(t *testing.T) {
	c := newCluster(t, 1)
	m := c.command()
	c.publisher()
	c.write(entry(1, 0x101))
	const olders = "worker-1 multinic-legacy g1 multinic0=0101"
	c.are(olders)
	handed := func(want string) {
		t.Helper()
		if got := c.object(1).Annotations[v1.HandOverAnnotation]; got != want {
			t.Errorf("the object is handed over to %q, want %q", got, want)
		}
	}
	m.says("run --to multinic-intake", 0, "1 handed over")
	handed(v1.PublisherIntake)
	c.says("InProgress 0/1; worker-1 Pending HandedOver")
	m.says("run --to multinic-intake", 0, "1 handed over")
	m.says("run --to multinic-openstack", 1, "left: worker-1: HandedToAnother")
	m.says("finish", 1, "worker-1: multinic-intake has not taken the object yet")
	m.says("rollback", 0, "1 give back")
	handed("")
	c.are(olders)

	m.says("run --to multinic-intake", 0, "1 handed over")
	nic := nic(0x101)
	door := publish.Writer{Owner: publish.Owner{Name: v1.PublisherIntake, Removals: publish.RemovalsApply}, Client: c.admin,
		Directory: func(context.Context) (*publish.Directory, error) { return publish.NewDirectory(nil), nil }, Unknown: true}
	wish := publish.Wish{Node: "worker-1", InstanceID: "i-1", Provider: "provider-a", NICs: []v1.Interface{{PortID: nic.PortID, MACAddress: nic.MACAddress, Address: nic.Address, CIDR: nic.CIDR, MTU: nic.MTU}}}
	results, err := door.Publish(t.Context(), []publish.Wish{wish}, false)
	if err != nil || results[0].Action != publish.Changed {
		t.Fatalf("%+v, %v", results, err)
	}
	c.are("worker-1 multinic-intake g1 multinic0=0101")
	m.says("run --to multinic-intake", 0, "1 done")
	m.says("rollback", 0, "1 give back")
	c.are(olders)
	c.write(entry(1, 0x101, 0x102)) // and the older object counts again
	c.are("worker-1 multinic-legacy g2 multinic0=0101 multinic1=0102")
}
