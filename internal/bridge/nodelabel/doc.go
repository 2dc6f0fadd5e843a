// Package nodelabel keeps the label v1.ReadyLabel of Nodes.
//
// In go the Node and the node's object. Out comes a label of the Node: true, false, unknown, or
// none if there is no object.
//
// The package is used only in a bridge that was told to label. Labels of a Node need a right that
// the bridge does not have otherwise. It changes no other label.
//
// Start reading at Judge, which is pure; then Loop.
package nodelabel
