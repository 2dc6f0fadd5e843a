// Package intake is the HTTP door for publishers that do not speak to the API server: it takes the
// lists of NICs that they send, and has them written by internal/publish.
//
// In go requests: a list of nodes with their NICs, and who sends it. Out come objects, and an answer
// that names each node. The answer comes after the API server has stored what it speaks of.
//
// The package must not decide what an object becomes, and writes nothing itself. What clients send
// is escaped before it is logged or sent back.
//
// Start reading at door.ServeHTTP, and then take request.go and answer.go. Run wires everything.
package intake
