package survey

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"multinicd/internal/hosttest"
)

func TestAgents(t *testing.T) {
	const units = "/etc/systemd/system/timers.target.wants/nm-cloud-setup.timer"
	for name, test := range map[string]struct {
		files  map[string]string
		agents string // names with a part of the evidence
	}{
		"nobody":                            {},
		"cloud-init at boot only":           {files: map[string]string{"/etc/cloud/cloud.cfg": "updates:\n  network:\n    when: [boot]\n# hotplug would be another\n"}},
		"cloud-init when a NIC is plugged":  {files: map[string]string{"/etc/cloud/cloud.cfg.d/10.cfg": "updates: {network: {when: [boot, hotplug]}}\n"}, agents: "cloud-init: /etc/cloud/cloud.cfg.d/10.cfg"},
		"cloud-init's rule for NICs":        {files: map[string]string{"/etc/udev/rules.d/90-cloud-init-hook-hotplug.rules": ""}, agents: "cloud-init: /etc/udev/rules.d/90-cloud-init-hook-hotplug.rules"},
		"a list of modules with the word":   {files: map[string]string{"/etc/cloud/cloud.cfg": "cloud_final_modules:\n  - scripts_user\n  - install_hotplug\n  - install-hotplug\n"}},
		"cloud-init's rule before 24":       {files: map[string]string{"/etc/udev/rules.d/10-cloud-init-hook-hotplug.rules": ""}, agents: "cloud-init: /etc/udev/rules.d/10-cloud-init-hook-hotplug.rules"},
		"a rule that a package brings":      {files: map[string]string{"/usr/lib/udev/rules.d/10-cloud-init-hook-hotplug.rules": "", "/lib/udev/rules.d/90-cloud-init-hook-hotplug.rules": ""}},
		"such a rule, and user-data":        {files: map[string]string{"/usr/lib/udev/rules.d/10-cloud-init-hook-hotplug.rules": "", "/var/lib/cloud/instance/cloud-config.txt": "#cloud-config\nupdates:\n  network:\n    when: ['boot', 'hotplug']\n"}, agents: "cloud-init: /var/lib/cloud/instance/cloud-config.txt"},
		"switched off":                      {files: map[string]string{"/etc/cloud/cloud.cfg.d/99-disable-network-hotplug.cfg": "updates: {network: {when: []}}\n", "/usr/lib/udev/rules.d/10-cloud-init-hook-hotplug.rules": ""}},
		"switched off, and a comment":       {files: map[string]string{"/etc/cloud/cloud.cfg.d/99-disable-network-hotplug.cfg": "updates:\n  network:\n    when: [boot-new-instance]  # no hotplug here\n"}},
		"switched on, and off by a later":   {files: map[string]string{"/etc/cloud/cloud.cfg.d/10.cfg": "updates: {network: {when: [hotplug]}}\n", "/etc/cloud/cloud.cfg.d/99.cfg": "updates: {network: {when: [boot]}}\n"}},
		"switched off, and on by user-data": {files: map[string]string{"/etc/cloud/cloud.cfg.d/99.cfg": "updates: {network: {when: []}}\n", "/var/lib/cloud/instance/cloud-config.txt": "updates: {network: {when: [hotplug]}}\n"}, agents: "cloud-init: /var/lib/cloud/instance/cloud-config.txt"},
		"a file that is no YAML":            {files: map[string]string{"/etc/cloud/cloud.cfg.d/10.cfg": "updates: {network: {when: [hotplug]}}\n", "/etc/cloud/cloud.cfg.d/99.cfg": "\tupdates: {\n"}, agents: "cloud-init: /etc/cloud/cloud.cfg.d/10.cfg"},
		"nm-cloud-setup":                    {files: map[string]string{units: ""}, agents: "nm-cloud-setup: nm-cloud-setup.timer is enabled: " + units},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSurvey(t)
			hosttest.Files(t, s.host.Root, test.files)
			agents, text := s.Agents(), []string{}
			for _, n := range slices.Sorted(maps.Keys(agents)) {
				text = append(text, n+": "+agents[n])
			}
			if got := strings.Join(text, "; "); !strings.HasPrefix(got, test.agents) || (got == "") != (test.agents == "") {
				t.Errorf("agents: %q, want %q", got, test.agents)
			}
		})
	}
}

// By /dev/null in /etc an administrator hides the rule of a package (udev(7)).
func TestARuleThatIsHiddenIsNone(t *testing.T) {
	s := newSurvey(t)
	folder := s.host.Path("/etc/udev/rules.d")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(os.DevNull, folder+"/10-cloud-init-hook-hotplug.rules"); err != nil {
		t.Fatal(err)
	}
	if agents := s.Agents(); len(agents) > 0 {
		t.Errorf("got %q", agents)
	}
}

func TestTheTimeServiceThatRuns(t *testing.T) {
	for unit, want := range map[string]string{"chronyd.service": "chronyd.service", "systemd-timesyncd.service": "systemd-timesyncd.service", "cron.service": ""} {
		s := newSurvey(t)
		hosttest.Files(t, s.host.Root, map[string]string{"/run/systemd/units/invocation:" + unit: ""})
		if got := s.TimeService(); got != want {
			t.Errorf("with %s: got %q, want %q", unit, got, want)
		}
	}
}
