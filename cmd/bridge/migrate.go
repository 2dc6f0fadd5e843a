package main

import (
	"github.com/urfave/cli/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multinicd/cmd/bridge/migration"
)

func migrateCommand() *cli.Command {
	e := migration.Env{Usage: errUsage, Connect: func(kubeconfig string) (client.Client, error) {
		a, err := newAdmin(kubeconfig)
		if err != nil {
			return nil, err
		}
		return a.client, nil
	}}
	return e.Command(preflightCommand(), storageCommand())
}
