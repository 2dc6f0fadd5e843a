package main

import (
	"reflect"
	"strings"
	"testing"

	"multinicd/internal/terminal"
	"multinicd/test/bed/artifact"
	"multinicd/test/bed/prerequisite"
	"multinicd/test/bed/vm"
)

func TestWhatTheArgumentsAskFor(t *testing.T) {
	compiler, everything := prerequisite.More{Compiler: true, Servers: true}, prerequisite.More{Compiler: true, Servers: true, ContainerRuntime: true}
	for name, test := range map[string]struct {
		args    string
		want    needs
		wantErr string
	}{
		"the demo needs neither the ifcfg plugin nor controllers nor a compiler of C nor a DHCP server": {
			args: "demo",
			want: needs{suites: []string{"bookworm"}},
		},
		"nothing is the whole control plane and Debian 12 with the ifcfg plugin": {
			want: needs{suites: []string{"bookworm"}, ifcfg: true, controllers: true, packages: compiler},
		},
		"kubelet adds what nodes need": {
			args: "kubelet",
			want: needs{suites: []string{"bookworm"}, ifcfg: true, controllers: true, nodes: true, packages: everything},
		},
		"the tests need all, wherever kubelet stands": {
			args: "bookworm kubelet trixie",
			want: needs{suites: []string{"bookworm", "trixie"}, ifcfg: true, controllers: true, nodes: true, packages: everything},
		},
		"openstack adds a root file system, and no packages here": {
			args: "openstack",
			want: needs{suites: []string{"bookworm"}, ifcfg: true, controllers: true, openstack: true, packages: compiler},
		},
		"virtual machines have images and packages of their own": {
			args: "vm",
			want: needs{suites: []string{"bookworm"}, ifcfg: true, controllers: true, machines: vm.Kinds, packages: prerequisite.More{Compiler: true, Servers: true, Machines: true}},
		},
		"a browser is a package, whatever else is asked for": {
			args: "browser trixie",
			want: needs{suites: []string{"trixie"}, controllers: true, packages: prerequisite.More{Compiler: true, Servers: true, Browser: true}},
		},
		"the ifcfg plugin is for the default suite only": {
			args: "trixie",
			want: needs{suites: []string{"trixie"}, controllers: true, packages: compiler},
		},
		"the demo with more is refused":               {args: "demo kubelet", wantErr: "setup demo makes no more"},
		"a flag is no suite":                          {args: "-h", wantErr: `"-h" is no Debian suite`},
		"a path is no suite, and gets nowhere as one": {args: "../demo", wantErr: `"../demo" is no Debian suite`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parse(strings.Fields(test.args))
			if test.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), test.wantErr) {
					t.Fatalf("got error %v, want %q", err, test.wantErr)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, %v, want %+v", got, err, test.want)
			}
		})
	}
}

// A pipe or a log gets each line. A terminal has a line below that lives, and needs no signs of life above it.
func TestWhatIsBeingMadeIsTold(t *testing.T) {
	for seen, want := range map[bool]string{false: "setup    0 s: making x\nsetup    0 s: still making x, for 30 s so far\n", true: "setup    0 s: making x\n"} {
		var out strings.Builder
		far := terminal.NewProgress(&out, "setting up")
		logf := telling(&out, seen, far)
		logf("making %s", "x")
		logf(artifact.Still+" x, for %d s so far", 30)
		far.End()
		if out.String() != want {
			t.Errorf("on a terminal %v: got %q, want %q", seen, out.String(), want)
		}
	}
}
