package main

import (
	"errors"
	"strings"
	"testing"

	"multinicd/cmd/line"
)

func TestAWrongCommandLineIsOneErrorThatSaysWhatToDo(t *testing.T) {
	for words, want := range map[string]string{
		"nope":                              `there is no command "nope"`,
		"--nope":                            "-nope; see multinic-bridge help",
		"run extra":                         "run takes no arguments",
		"run":                               `reading --duty: "" is neither status nor credentials`,
		"run --duty all":                    `"all" is neither status nor credentials`,
		"run --nope":                        "-nope; see multinic-bridge run --help",
		"run --log-level loud":              "debug, info, warn and error",
		"run --log-format xml":              "neither json nor text",
		"run --silent-after 1m":             "too short",
		"run --silent-after -6m":            "too short",
		"run --silent-after soon":           "see multinic-bridge run --help",
		"run --rollout-max 0":               "--rollout-max",
		"run --rollout-stop-after -1":       "stop after -1",
		"run --rollout-patience 59s":        "too short",
		"run --rollout-patience -1m":        "a patience of -1m0s",
		"trigger":                           "name the nodes, as in multinic-bridge trigger NAME",
		"cleanup --all --node n":            "give one of names, --selector and --all",
		"cleanup --all -l a=b":              "give one of names, --selector and --all",
		"cleanup n --all":                   "give one of names, --selector and --all",
		"trigger n m --node n":              "n is named twice",
		"trigger n --timeout 0s m":          "--timeout must be more than nothing",
		"trigger n --timeout soon":          "see multinic-bridge trigger --help",
		"trigger n --timeout":               "--timeout needs an argument",
		"trigger n --wait=maybe":            "reading --wait=maybe",
		"trigger n --nope":                  `there is no option "--nope"; see multinic-bridge trigger --help`,
		"trigger UPPER":                     "no node name",
		"trigger --node UPPER":              "no node name",
		"cleanup --node= --wait":            "no node name",
		"token nope":                        `there is no command "nope"; see multinic-bridge token --help`,
		"token create":                      "name the node, as in multinic-bridge token create NAME",
		"token create --node":               "needs an argument",
		"token create --node n --ttl 5":     "see multinic-bridge token create --help",
		"token create --node n --ttl 9m":    "no token for less than 10m",
		"token create --node n --ttl 169h":  "at most 168h",
		"token create --node n extra":       "token create takes one node, got extra and n",
		"token create n --ttl 9m":           "no token for less than 10m",
		"token create --node UPPER":         "no node name",
		"token create --node ../../x":       "no node name",
		"token revoke":                      "name the node, as in multinic-bridge token revoke NAME",
		"token revoke n m --block":          "token revoke takes one node, got n and m",
		"token unblock":                     "name the node, as in multinic-bridge token unblock NAME",
		"token unblock --node ../../x":      "no node name",
		"fleet worker-1":                    "fleet takes no arguments, got \"worker-1\": one node is shown by multinic-bridge node NAME",
		"fleet -o xml":                      `--output "xml" is none of table, wide, json and yaml`,
		"fleet --port 4711":                 "--port goes with --web",
		"fleet --web --port 65536":          "is no port",
		"fleet --web -o json":               "takes no --output",
		"fleet --web --reason A --reason B": "takes one --reason",
		"token list extra":                  "token list takes no arguments",
		"token list --output xml":           `--output "xml" is none of table, json and yaml`,
		"intake":                            "give --tls-cert-file and --tls-key-file, or --plain-http",
		"intake extra":                      "intake takes no arguments",
		"intake --tls-cert-file a":          "go together",
		"intake --plain-http --tls-cert-file a --tls-key-file b": "exclude each other",
		"intake --plain-http --client-ca-file a":                 "needs --tls-cert-file",
		"intake --plain-http --removals some":                    "none of keep, apply and all",
		"intake --plain-http --unknown-nodes make":               "neither wait nor publish",
		"intake --plain-http --rate 0":                           "more than 0",
		"intake --plain-http --max-nodes 0":                      "more than 0",
		"intake --plain-http --timeout 1s":                       "not less",
		"intake --plain-http --log-level loud":                   "debug, info, warn and error",
		"openstack":                                              "--cloud is missing",
		"openstack nope":                                         "openstack takes no arguments",
		"openstack plan extra":                                   "plan takes no arguments",
		"openstack --cloud a --interval 1ms":                     "--interval is 1s at least",
		"openstack check --cloud a --page-size 0":                "more than 0",
		"openstack plan --cloud a --provider=":                   "--provider is empty",
		"openstack check --network a":                            "see multinic-bridge openstack check --help",
		"legacy extra":                                           "legacy takes no arguments",
		"legacy --status-interval -1s":                           "not less than 0",
		"legacy --log-level loud":                                "debug, info, warn and error",
		"migrate nope":                                           `there is no command "nope"; see multinic-bridge migrate --help`,
		"migrate export":                                         "--folder is missing",
		"migrate import":                                         "--folder is missing",
		"migrate import -d x extra":                              "import takes no arguments",
		"migrate run":                                            "reading --to",
		"migrate run --to multinic-legacy":                       "the older object itself",
		"migrate run --to a/b":                                   "cannot be the name of a publisher",
		"migrate run --to viola --max 0":                         "--max",
		"migrate run --to viola --stop-after -1":                 "stop after -1",
		"migrate run --to viola --patience 1ms":                  "too short",
		"migrate run --to viola -o yaml":                         "neither table nor json",
		"migrate run --too viola":                                "see multinic-bridge migrate run --help",
		"migrate rollback extra":                                 "rollback takes no arguments",
		"migrate verify extra":                                   "verify takes no arguments",
		"migrate finish extra":                                   "finish takes no arguments",
		"migrate plan extra":                                     "plan takes no arguments",
		"migrate plan -f x -o yaml":                              "neither table nor json",
		"version extra":                                          "version takes no arguments",
	} {
		t.Run(words, func(t *testing.T) {
			app := newApp()
			var out strings.Builder
			app.Writer, app.ErrWriter = &out, &out
			err := line.Run(t.Context(), app, append([]string{"multinic-bridge"}, strings.Fields(words)...))
			if !errors.Is(err, errUsage) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want a wrong command line and %q", err, want)
			}
			if out.Len() > 0 {
				t.Errorf("it prints %q", out.String())
			}
		})
	}
}
