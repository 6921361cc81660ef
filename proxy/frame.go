package proxy

// Frame types.
const (
	typeRes = "res"
	typeErr = "err"
)
