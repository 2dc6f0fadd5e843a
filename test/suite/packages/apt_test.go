package packages

import (
	"bytes"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"multinicd/test/bed"
	"multinicd/test/bed/artifact"
	"multinicd/test/bed/page"
	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/testhost"
)

// bare takes away mirrors, and mmdebstrap's own settings, which leave out documentation.
const bare = "rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/* /etc/dpkg/dpkg.cfg.d/*\n"

func TestTheDebOnDebian(t *testing.T) {
	for _, suite := range append([]string{"bookworm"}, prerequisite.Long("trixie")...) { // test/suite/vm has it on trixie
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, suite)
			n.wantQuietInstall()
			n.wantSandbox()
			n.configure()
			n.wantJournalFields()
			n.wantRestarts()
			n.upgradeAndBack()
			n.removeAndReinstall()
			n.purge()
			n.takeBack()
		})
	}
}

// pin makes that version the one that apt installs if it is not told which.
func (n *node) pin(version string) {
	n.Helper()
	text := "Package: multinicd\nPin: version " + version + "\nPin-Priority: 990\n"
	if err := n.WriteFile("/etc/apt/preferences.d/multinicd", []byte(text), 0o644); err != nil {
		n.Fatal(err)
	}
}

// wantQuietInstall installs on a host whose NICs nobody has configured yet.
func (n *node) wantQuietInstall() {
	n.Helper()
	n.waitDAD()
	monitor, err := n.MonitorKernel()
	if err != nil {
		n.Fatal(err)
	}
	defer monitor.Stop()
	n.sh(bare)
	n.pin(built.this)
	steps := page.Steps(n.T, "docs/install.md", "On Debian")
	n.Logf("apt-get install:\n%s", n.follow(steps[0]))
	n.wantIdle()
	n.follow(steps[1])
	events, err := monitor.Events()
	if err != nil || len(events) > 0 {
		n.Errorf("while it was installed the kernel said %v (%v), want nothing", events, err)
	}
	if got := strings.TrimSpace(n.sh("multinicd version; ls /usr/share/man/man8/multinicd.8.gz")); got != "multinicd "+built.this+"\n/usr/share/man/man8/multinicd.8.gz" {
		n.Errorf("got %q, want version %s and a man page", got, built.this)
	}
}

func (n *node) wantJournalFields() {
	n.Helper()
	n.wait("the entries of NIC=multinic1", "multinic1", func() string { return n.sh("journalctl --quiet --no-pager --unit=multinicd NIC=multinic1") })
	out := n.sh("journalctl --quiet --no-pager --unit=multinicd --output=json NIC=multinic1")
	for _, want := range []string{`"NODE":"worker-node-01"`, `"GENERATION":`, `"MAC":"` + nodeMACs[0] + `"`} {
		if !strings.Contains(strings.ReplaceAll(out, " : ", ":"), want) {
			n.Errorf("the entries of multinic1 have no %s:\n%s", want, out)
		}
	}
	if strings.Contains(out, nodeMACs[1]) {
		n.Errorf("the entries of multinic1 are of the other NIC too:\n%s", out)
	}
}

// wantRestarts kills the daemon, and then stops it, as a loop that is stuck; no NIC may notice.
func (n *node) wantRestarts() {
	n.Helper()
	// The test is to be short: the unit waits 5 s before a restart, and 60 s for the watchdog. A daemon that is well is to live also on a busy machine.
	n.sh(`mkdir -p /etc/systemd/system/multinicd.service.d
printf '[Service]\nRestartSec=500ms\nWatchdogSec=10\n' >/etc/systemd/system/multinicd.service.d/short.conf
systemctl daemon-reload; systemctl restart multinicd`)
	n.waitStatus("2/2 NICs ready")
	n.wantQuiet("killed", func() {
		n.sh("systemctl kill --signal=KILL multinicd")
		n.waitRestarted("1")
	})
	n.wantQuiet("stuck", func() {
		n.sh("systemctl kill --signal=STOP multinicd")
		n.waitRestarted("2")
	})
	if out := n.Journal(n.Context()); !strings.Contains(out, "Watchdog timeout") {
		n.Errorf("the journal does not tell of the watchdog:\n%s", out)
	}
	n.sh("rm -r /etc/systemd/system/multinicd.service.d; systemctl daemon-reload; systemctl restart multinicd")
	n.waitStatus("2/2 NICs ready")
}

// waitRestarted waits for that restart, and for its NICs: until the new process begins the service still has the status that the old one gave it.
func (n *node) waitRestarted(number string) {
	n.Helper()
	const want = "all NICs are ready"
	bed.Eventually(n.T, "restart "+number, want, func() string {
		now := n.sh("systemctl show --property=NRestarts,SubState,StatusText multinicd.service")
		if strings.Contains(now, "NRestarts="+number+"\n") && strings.Contains(now, "SubState=running\n") && strings.Contains(now, "2/2 NICs ready") {
			return want
		}
		return now
	})
}

func (n *node) upgradeAndBack() {
	n.Helper()
	steps := page.Steps(n.T, "docs/upgrade.md", "On Debian")
	unattended := page.Step{Script: steps[1].Script, Want: steps[0].Want}
	before, pid := n.ours(), n.property("MainPID")
	for _, s := range []struct {
		what, version string
		do            func() string
	}{
		{"upgrade", built.next, func() string { return n.follow(unattended) }},
		{"downgrade", built.this, func() string {
			return n.sh("apt-get install --yes --option=Dpkg::Options::=--force-confold --allow-downgrades multinicd=" + built.this)
		}},
	} {
		n.pin(s.version)
		n.wantQuiet(s.what, func() {
			n.Logf("%s:\n%s", s.what, s.do())
			n.waitStatus("2/2 NICs ready")
		})
		out := n.follow(page.Steps(n.T, "docs/upgrade.md", "Afterwards")[0])
		now := n.property("MainPID")
		if !strings.HasPrefix(out, "multinicd "+s.version+"\n") || now == pid {
			n.Errorf("after the %s process %s has become %s, and version and status are\n%s", s.what, pid, now, out)
		}
		pid = now
		n.wantKept(s.what, before)
	}
}

// wantKept looks whether something has changed the files of the NICs, or the administrator's configuration.
func (n *node) wantKept(what, before string) {
	n.Helper()
	if got := n.ours(); got != before {
		n.Errorf("the %s changed the NICs' files from\n%s to\n%s", what, before, got)
	}
	if got, err := n.ReadFile("/etc/multinicd/multinicd.toml"); err != nil || string(got) != n.configured {
		n.Errorf("the %s changed multinicd.toml (%v):\n%s", what, err, got)
	}
	n.wantAddresses("after the " + what)
}

func (n *node) removeAndReinstall() {
	n.Helper()
	before := n.ours()
	n.wantQuiet("remove and reinstall", func() {
		n.Logf("apt-get remove:\n%s", n.follow(page.Steps(n.T, "docs/uninstall.md", "On Debian")[0]))
		n.sh("! systemctl is-active multinicd; test -d /var/lib/multinicd; test -f /etc/multinicd/multinicd.toml")
		n.wantAddresses("after the removal")
		n.sh("apt-get install --yes multinicd")
		n.waitStatus("2/2 NICs ready")
	})
	n.wantKept("reinstallation", before)
}

// purge takes everything of ours but what the NICs need; the host boots with them.
func (n *node) purge() {
	n.Helper()
	n.wantQuiet("purge", func() {
		n.sh("rm /etc/multinicd/node.yaml")
		out := n.follow(page.Steps(n.T, "docs/uninstall.md", "On Debian")[1])
		n.Logf("apt-get purge:\n%s", out)
		n.wantNamed(out)
	})
	for _, path := range []string{"/var/lib/multinicd", "/etc/multinicd", "/run/multinicd", "/usr/bin/multinicd", "/etc/systemd/system/multi-user.target.wants/multinicd.service"} {
		if _, err := n.Host.Run(n.Context(), "test", "!", "-e", path, "-a", "!", "-L", path); err != nil {
			n.Errorf("%s is left after the purge", path)
		}
	}
	if err := n.Reboot(n.Context()); err != nil {
		n.Fatal(err)
	}
	for _, address := range nodeAddresses {
		n.wait("the addresses after a reboot without multinicd", address, func() string { return n.sh("ip -br address") })
	}
	n.wantAddresses("after a reboot without multinicd")
	n.sh("apt-get install --yes multinicd")
	n.wantIdle()
	n.wantAddresses("after the installation on a host with such NICs")
}

// takeBack does by hand what docs/uninstall.md says, and the other NIC stays. What multinicd cleanup does is shown in test/suite/e2e.
func (n *node) takeBack() {
	n.Helper()
	steps := page.Steps(n.T, "docs/uninstall.md", "Giving NICs back")
	n.follow(steps[1])
	if err := n.Reboot(n.Context()); err != nil {
		n.Fatal(err)
	}
	n.wait("the address of the other NIC", nodeAddresses[1], func() string { return n.sh("ip -br address") })
	if out := n.sh("ip -br address"); strings.Contains(out, nodeAddresses[0]) {
		n.Errorf("the NIC that was given back is configured after a reboot:\n%s", out)
	}
}

// wantNamed looks for the files that stay in what removing the package prints.
func (n *node) wantNamed(out string) {
	n.Helper()
	for _, want := range []string{"the NICs stay as they are", "/etc/netplan/90-multinic1.yaml", "/etc/netplan/90-multinic2.yaml"} {
		if !strings.Contains(out, want) {
			n.Errorf("it does not say %q", want)
		}
	}
}

// Installed and removed without a word about a NIC, and sandboxed, also where there is no netplan.
func TestTheDebOnAHostWithNetworkManagerOnly(t *testing.T) {
	t.Parallel()
	n := newNodeWith(t, testhost.Options{Flavour: testhost.NetworkManager})
	n.wantQuietInstall()
	n.wantSandbox()
	n.wantQuiet("purge", func() { n.sh("apt-get purge --yes multinicd") })
}

// A repository that somebody has tampered with is refused.
func TestAptRefusesAPackageThatIsNotSigned(t *testing.T) {
	t.Parallel()
	n := newNode(t, "bookworm")
	n.sh(bare)
	n.follow(page.Step{Script: strings.ReplaceAll(page.Steps(t, "docs/install.md", "On Debian")[0].Script, "apt-get install", "# ")})
	n.sh("echo >>/srv/multinicd/apt/pool/main/multinicd_" + built.this + "_amd64.deb")
	n.wantRefused("a changed package", "apt-get install --yes multinicd="+built.this, "Hash Sum mismatch")
	n.sh("cd /srv/multinicd/apt/dists/stable/main/binary-amd64; rm Packages.gz; sed -i 's/^Size: ./&1/' Packages; rm -rf /var/lib/apt/lists/*")
	n.wantRefused("a changed list of packages", "apt-get update --error-on=any", "Hash Sum mismatch")
	n.sh("sed -i 's/^Origin: /&un/' /srv/multinicd/apt/dists/stable/InRelease; rm -rf /var/lib/apt/lists/*")
	n.wantRefused("a changed release", "apt-get update --error-on=any", "signatures were invalid")
	if _, err := n.ReadFile("/usr/bin/multinicd"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("multinicd is there (%v)", err)
	}
}

// A repository that was made once and never renewed ends, in the words that docs/verify.md has.
func TestAptRefusesARepositoryThatNobodyRenews(t *testing.T) {
	t.Parallel()
	build(t)
	dist := t.TempDir()
	if _, err := script(t, dist, nil, "cp "+filepath.Join(built.dir, files()[0])+" "+filepath.Join(built.dir, "SHA256SUMS")+" ."); err != nil {
		t.Fatal(err)
	}
	if err := artifact.RunMake(t.Context(), filepath.Join(built.dir, "tree"), dist, nil, "repo", "REPO_URL="+folder, "REPO_DAYS=-1"); err != nil {
		t.Fatal(err)
	}
	for _, suite := range []string{"bookworm", "trixie"} {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, suite)
			n.serve(filepath.Join(dist, "repo"))
			n.sh(bare)
			n.follow(page.Step{Script: strings.ReplaceAll(page.Steps(t, "docs/install.md", "On Debian")[0].Script, "apt-get", "# ")})
			step := page.Steps(t, "docs/verify.md", "A repository that nobody renews")[0]
			step.Want = strings.ReplaceAll(step.Want, server, strings.ReplaceAll(folder, "//", ""))
			out, err := n.Shell(t.Context(), "exec 2>&1\n"+step.Script)
			if err == nil {
				t.Errorf("apt takes a repository that ended yesterday:\n%s", out)
			}
			n.match(step, out)
		})
	}
}

func (n *node) wantRefused(what, command, reason string) {
	n.Helper()
	if out, err := n.Shell(n.Context(), command+" 2>&1"); err == nil || !strings.Contains(out, reason) {
		n.Errorf("%s: got %v and\n%s\nwant a failure that says %q", what, err, out, reason)
	}
}

// The key signs both repositories and is in neither package.
func TestTheKeyIsThrownAway(t *testing.T) {
	build(t)
	key, err := os.ReadFile(filepath.Join(built.dir, "repo/multinicd.asc"))
	if err != nil || !bytes.Contains(key, []byte("BEGIN PGP PUBLIC KEY BLOCK")) || bytes.Contains(key, []byte("PRIVATE")) {
		t.Errorf("got %v and %q, want a public key only", err, key)
	}
}

func prefix(t *testing.T, s string) netip.Prefix {
	t.Helper()
	p, err := netip.ParsePrefix(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
