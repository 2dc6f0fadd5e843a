// Package web shows the fleet in the browser of whoever runs multinic-bridge fleet --web: a table of
// all nodes, and a page for each of them, which follow the cluster while they are looked at.
//
// In go a way to the API server, with the caller's own rights, and requests of a browser on the same
// machine. Out come the files of the folder page, and one stream for each page: first all rows, then
// those that have changed.
//
// It must not change anything in the cluster, and must not answer anybody except the browser that
// has the address. Every text of an object goes out as JSON, and only as text into a page.
//
// Start reading at Serve. hub.go knows the fleet, source.go watches the API server, stream.go tells
// the browser, gate.go keeps others away.
package web
