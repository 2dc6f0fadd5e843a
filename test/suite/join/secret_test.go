package join

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
)

// wantModes holds the credential folder to its modes.
func (n *node) wantModes() {
	n.c.t.Helper()
	const want = "700 root .\n600 root ca.crt\n600 root door\n600 root lock\n600 root request\n600 root server\n600 root token"
	if got := strings.TrimSpace(n.must("sh", "-c", "cd "+credential+" && stat -c '%a %U %n' . $(ls -A)")); got != want {
		n.c.t.Errorf("the credential folder holds\n%s\nwant\n%s", got, want)
	}
	if got := strings.TrimSpace(n.must("sh", "-c", `
		pid=$(systemctl show -P MainPID multinicd)
		stat -c %U /proc/$pid/environ
		grep 'core file' /proc/$pid/limits | tr -s ' ' | cut -d' ' -f5,6`)); !strings.HasPrefix(got, "root\n0 0") {
		n.c.t.Errorf("the daemon may dump core: %s", got)
	}
	for _, pid := range n.c.Bridge().PIDs() {
		limits := string(readFile(n.c.t, fmt.Sprintf("/proc/%d/limits", pid)))
		if !regexp.MustCompile(`(?m)^Max core file size +[01] +[01] `).MatchString(limits) {
			n.c.t.Errorf("the bridge may dump core:\n%s", limits)
		}
	}
}

// wantNoSecrets looks for every token that it knows in all that was printed anywhere.
func (n *node) wantNoSecrets() {
	if !n.Running() {
		return
	}
	ctx := context.WithoutCancel(n.c.t.Context())
	if text, err := n.ReadFile(credential + "/token"); err == nil {
		n.tokens[strings.TrimSpace(string(text))] = true
	}
	places := map[string]string{
		"what its programs printed": n.said.String(),
		"its journal":               n.Journal(ctx),
		"the bridge's log":          n.c.Bridge().Log(),
	}
	for what, argv := range map[string][]string{
		"the whole journal": {"journalctl", "--no-pager", "--output=json", "--all"},
		"its processes":     {"sh", "-c", "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' '\\n'"},
		"its status":        {"sh", "-c", "multinicd status; multinicd status -o json; systemctl status multinicd --no-pager --full"},
		"its cluster":       nil,
	} {
		if argv == nil {
			out, _ := n.c.Kubectl(ctx, "get", "events,mnnc,ntr,configmaps,leases", "-A", "-o", "json")
			places[what] = out
			continue
		}
		out, _ := n.Run(ctx, argv...) // status fails where the daemon was stopped
		places[what] = out
	}
	n.wantNoneOnDisk(ctx)
	for t := range n.tokens {
		for what, text := range places {
			// The signature alone would do for a thief who knows what the rest of a token looks like.
			if i := strings.LastIndexByte(t, '.'); t != "" && (strings.Contains(text, t) || strings.Contains(text, t[i+1:])) {
				n.c.t.Errorf("%s holds a token of %s", what, n.name)
			}
		}
	}
	if len(n.tokens) == 0 {
		n.c.t.Logf("%s has had no token", n.name)
	}
}

// wantNoneOnDisk looks for tokens in every file of the host but the credential, and the join file that was put there.
func (n *node) wantNoneOnDisk(ctx context.Context) {
	n.c.t.Helper()
	var tokens strings.Builder
	for t := range n.tokens {
		tokens.WriteString(t[strings.LastIndexByte(t, '.')+1:] + "\n")
	}
	if tokens.Len() == 0 {
		return // grep would find everything
	}
	cmd := n.Command(ctx, "grep", "-rlaF", "-D", "skip", "-f", "-", "/etc", "/home", "/root", "/run", "/srv", "/tmp", "/var")
	cmd.Stdin = strings.NewReader(tokens.String())
	out, err := cmd.Output()
	var none *exec.ExitError
	if err != nil && !errors.As(err, &none) {
		n.c.t.Error(err)
	}
	for path := range strings.FieldsSeq(string(out)) {
		if path != credential+"/token" && path != "/root/join" {
			n.c.t.Errorf("%s of %s holds a token", path, n.name)
		}
	}
}
