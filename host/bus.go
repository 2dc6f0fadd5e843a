package host

// bus is the system bus.
type bus struct{}

func (b *bus) close() {}
