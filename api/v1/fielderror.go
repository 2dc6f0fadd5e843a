package v1

import "strings"

// FieldError is one thing wrong with an object.
//
// +kubebuilder:object:generate=false
type FieldError struct {
	// Field as the API server names it, such as spec.interfaces[1].macAddress.
	Field string
	// Message says what is wrong and what to do.
	Message string
	// Index of the entry of spec.interfaces that alone is wrong. It is -1 where no single entry is
	// wrong; then the object as a whole is to be refused.
	Index int
}

// Error is the field and the message in one line.
func (e FieldError) Error() string { return e.Field + ": " + e.Message }

// FieldErrors is what Validate found, in the order of the object's fields.
//
// +kubebuilder:object:generate=false
type FieldErrors []FieldError

// Error is one line for each FieldError.
func (es FieldErrors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}
