package vagrant

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"multinicd/examples"
	"multinicd/test/bed"
	"multinicd/test/bed/artifact"
)

// addresses are those of examples/worker-node-01.yaml, by MAC.
var addresses = map[string]string{"02:00:00:00:01:01": "192.168.100.10/24", "02:00:00:00:01:02": "192.168.200.10/24"}

func (m machine) wantVersion(want string) {
	m.Helper()
	if got := strings.TrimSpace(m.ssh("multinicd version")); got != "multinicd "+want {
		m.Errorf("the machine has %q, want version %s", got, want)
	}
}

// wantNICs looks for each address on the link of its MAC, and for a default route that is not by one of these links.
func (m machine) wantNICs() {
	m.Helper()
	out := m.ssh("multinicd status; ip -oneline -4 address; ip -oneline link; ip route show default")
	if !strings.Contains(out, " Configured, 2/2 NICs ready") {
		m.Errorf("the status is\n%s", out)
	}
	for mac, address := range addresses {
		link := regexp.MustCompile(`(?m)^\d+: ([^:@]+).* link/ether ` + mac + ` `).FindStringSubmatch(out)
		if link == nil || !regexp.MustCompile(`(?m)^\d+: `+link[1]+` +inet `+address+` `).MatchString(out) {
			m.Errorf("%s is not on the link of %s", address, mac)
			continue
		}
		if regexp.MustCompile(`(?m)^default .*dev ` + link[1] + `\b`).MatchString(out) {
			m.Errorf("there is a default route by %s", link[1])
		}
	}
}

// wantDriftRepaired takes an address away, as a person might, and has the machine wait until it is there again.
func (m machine) wantDriftRepaired() {
	m.Helper()
	m.ssh(`link=$(ip -oneline -4 address | awk '$4 == "192.168.100.10/24" {print $2}')
ip address del 192.168.100.10/24 dev "$link"
for i in $(seq 300); do
	ip -oneline -4 address show dev "$link" | grep -q 192.168.100.10/24 && exit 0
	sleep 0.2
done
exit 1`)
}

// tested are the packages whose tests run on the machine, with its kernel and as root: they need nothing else of the tree.
var tested = []string{"./host/kernel", "./host"}

func (m machine) runTests() {
	m.Helper()
	for _, pkg := range tested {
		binary := filepath.Join(m.TempDir(), strings.ReplaceAll(strings.TrimPrefix(pkg, "./"), "/", "-")+".test")
		cmd := exec.CommandContext(m.Context(), "go", "test", "-c", "-vet=off", "-ldflags=-s -w", "-o", binary, pkg)
		cmd.Dir, cmd.Env = bed.Path(m.T, "."), artifact.GoEnv()
		if out, err := cmd.CombinedOutput(); err != nil {
			m.Fatalf("building the tests of %s: %v\n%s", pkg, err, out)
		}
		m.upload(binary)
		out := m.ssh("uname -r; cd /tmp; chmod +x *.test; CI=true ./" + filepath.Base(binary) + " -test.shuffle=on -test.timeout=10m")
		if !strings.Contains(out, "\nPASS\n") {
			m.Errorf("the tests of %s say\n%s", pkg, out)
		}
	}
}

// secret is a token that is good for nothing.
const secret = "c2VjcmV0.c2VjcmV0.c2VjcmV0"

// cloudInit has the machine's cloud-init read the examples, and do what the one says that holds a secret.
func (m machine) cloudInit() {
	m.Helper()
	paths, err := filepath.Glob(bed.Path(m.T, "examples/cloud-init/*.yaml"))
	if err != nil || len(paths) == 0 {
		m.Fatalf("there are no examples: %v", err)
	}
	for _, path := range paths {
		m.upload(path)
		m.ssh("cloud-init schema --config-file /tmp/" + filepath.Base(path))
	}
	join := examples.Join{Node: "worker-node-01", Server: "https://192.0.2.1:6443", CAHash: "sha256:" + strings.Repeat("0", 64), File: []byte(secret + "\n"), Expires: time.Now()}
	text, err := join.Fill(examples.JoinToken)
	if err != nil {
		m.Fatal(err)
	}
	filled := filepath.Join(m.TempDir(), "user-data.yaml")
	if err := os.WriteFile(filled, []byte(text), 0o600); err != nil {
		m.Fatal(err)
	}
	m.upload(filled)
	// The file is no join file, and so the join ends at once. What looks for the secret does not hold it.
	pattern := "'" + strings.ReplaceAll(secret, ".", "[.]") + "'"
	out := m.ssh(`cd /root; install -m 0600 /tmp/user-data.yaml user-data.yaml; rm /tmp/user-data.yaml
cloud-init --version
for module in bootcmd write_files runcmd; do cloud-init --file user-data.yaml single --name $module --frequency always >/dev/null; done
stat -c '%a %U %n' /run/multinicd-join /run/multinicd-join/file
cloud-init --file user-data.yaml single --name scripts_user --frequency always && echo it has joined
echo what is left:
set +e
ls -d /run/multinicd-join* 2>/dev/null
rm user-data.yaml
find / -xdev -type f -newer /tmp/join-token.yaml -perm /0077 -exec grep -l ` + pattern + ` {} + 2>/dev/null
grep -rl ` + pattern + ` /var/log /run 2>/dev/null
true`)
	before, left, _ := strings.Cut(out, "what is left:\n")
	if !strings.Contains(before, "700 root /run/multinicd-join\n600 root /run/multinicd-join/file\n") || !strings.Contains(before, "join file refused") ||
		strings.Contains(before, "it has joined") || strings.TrimSpace(left) != "" {
		m.Errorf("cloud-init did not do what docs/cloud-init.md says:\n%s", out)
	}
}
